/// What is wrong with a client's properties, and which are of one kind of client alone, found without a broker.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace millrace::eventlog {

struct KafkaPropertyProblem {
  std::string property;  ///< Whose value is to be changed; empty: not known, or of several together.
  std::string message;   ///< Names the property.
  bool of_text = false;  ///< Of what is written there alone, whatever else is: no file, no other property.
};

/// All that MakeKafkaConsumer() would refuse, but for what is not there at all (bootstrap.servers, group.id).
/// librdkafka is asked itself, for each property and for all together; files that the properties name are looked for.
/// Connects to nothing.
std::vector<KafkaPropertyProblem> CheckKafkaConsumerProperties(const std::map<std::string, std::string>& properties);

/// Those that a producer's client may have too: of the others (group.id, fetch.min.bytes) it warns.
std::map<std::string, std::string> WithoutConsumerProperties(std::map<std::string, std::string> properties);

}  // namespace millrace::eventlog
