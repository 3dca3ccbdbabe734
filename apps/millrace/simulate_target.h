/// Where `simulate --to` sends events.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "devices/simulator.h"

namespace millrace::app {

struct SimulateTarget {
  devices::MakeSink make_sink;       ///< To be called once at most.
  std::optional<std::string> topic;  ///< nullopt: a file, or standard output.
  devices::Delivery delivery = devices::Delivery::kOnce;
};

struct TargetFlags {
  /// kafka://BROKERS/TOPIC, embedded:FOLDER/TOPIC, http[s]://HOST/TOPIC (a gateway), mqtt[s]://HOST/PREFIX/TOPIC (a
  /// broker or a gateway; each device adds a level of its own), file:PATH, or - for standard output.
  std::string to = "-";
  std::vector<std::string> kafka_settings{};  ///< key=value, librdkafka's.
  std::string token{};                        ///< For a gateway; empty: none.
};

/// kInvalidInput: another place, a property, or a fleet whose format the place does not take; else what opening it
/// says.
Result<SimulateTarget> OpenSimulateTarget(const TargetFlags& flags, const devices::Fleet& fleet);

/// kInvalidInput if there is a file at `path` already: nobody asked to lose it. `flag` is what gave the path.
Status CheckNew(const char* flag, const std::string& path);

/// The topic of it, without opening it; as SimulateTarget has it.
Result<std::optional<std::string>> TopicOfTarget(const std::string& to);

}  // namespace millrace::app
