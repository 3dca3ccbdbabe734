#include "eventlog/kafka/kafka_properties.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <set>
#include <sstream>
#include <string_view>

#include "base/ascii_case.h"
#include "base/nearest_name.h"
#include "eventlog/kafka/kafka_client_internal.h"

namespace millrace::eventlog {
namespace {

struct FileProperty {
  std::string_view name;
  bool may_be_folder = false;
};

// Read by librdkafka when the client is made, or at its first connection.
constexpr std::array kFilesOfSsl = {
    FileProperty{"ssl.ca.location", true}, FileProperty{"ssl.certificate.location"}, FileProperty{"ssl.key.location"},
    FileProperty{"ssl.keystore.location"}, FileProperty{"ssl.crl.location"},
};
constexpr std::array kFilesOfSasl = {
    FileProperty{"sasl.kerberos.keytab"},
    FileProperty{"https.ca.location", true},
    FileProperty{"sasl.oauthbearer.assertion.private.key.file"},
    FileProperty{"sasl.oauthbearer.assertion.file"},
    FileProperty{"sasl.oauthbearer.assertion.jwt.template.file"},
};

std::string ValueOf(const Properties& properties, const std::string& name) {
  const auto found = properties.find(name);
  return found == properties.end() ? "" : found->second;
}

struct KnownProperties {
  std::vector<std::string> names;
  std::set<std::string> of_consumers;  // Of them alone.
};

// librdkafka tells them all, but only as a table for people: "fetch.min.bytes | C | 1 .. 100000000 | ...".
const KnownProperties& Known() {
  static const KnownProperties known = [] {
    KnownProperties all;
    char* text = nullptr;
    std::size_t size = 0;
    std::FILE* const out = open_memstream(&text, &size);
    if (out == nullptr) return all;
    rd_kafka_conf_properties_show(out);
    std::fclose(out);
    std::istringstream lines(std::string(text, size));
    std::free(text);
    for (std::string line; std::getline(lines, line);) {
      std::string name = line.substr(0, line.find_first_of(" |"));
      if (name.find('.') == std::string::npos) continue;
      std::istringstream cells(line.substr(line.find('|') + 1));
      std::string whose;
      if (cells >> whose && whose == "C") all.of_consumers.insert(name);
      all.names.push_back(std::move(name));
    }
    return all;
  }();
  return known;
}

template <std::size_t N>
void CheckFiles(const Properties& properties, const std::array<FileProperty, N>& files,
                std::vector<KafkaPropertyProblem>& problems) {
  for (const FileProperty& file : files) {
    const std::string name(file.name);
    const std::string path = ValueOf(properties, name);
    if (path.empty() || (file.may_be_folder && path == "probe")) continue;
    std::error_code ignored;
    if (!file.may_be_folder && std::filesystem::is_directory(path, ignored)) {
      problems.push_back({.property = name, .message = fmt::format("{}: '{}' is a folder, not a file", name, path)});
    } else if (access(path.c_str(), R_OK) != 0) {
      problems.push_back(
          {.property = name, .message = fmt::format("{}: cannot read '{}': {}", name, path, std::strerror(errno))});
    }
  }
}

// librdkafka would try Kerberos then, and complain of that.
void CheckMechanism(const Properties& properties, std::vector<KafkaPropertyProblem>& problems) {
  for (const char* name : {"sasl.mechanism", "sasl.mechanisms", "sasl.kerberos.keytab", "sasl.kerberos.kinit.cmd"}) {
    if (!ValueOf(properties, name).empty()) return;
  }
  problems.push_back(
      {.property = "security.protocol",
       .message = fmt::format("security.protocol is {}, and sasl.mechanism is not set: set it to PLAIN, SCRAM-SHA-256, "
                              "SCRAM-SHA-512 or OAUTHBEARER, or to GSSAPI (Kerberos) with sasl.kerberos.keytab",
                              ValueOf(properties, "security.protocol"))});
}

}  // namespace

std::vector<KafkaPropertyProblem> FindProblems(const Properties& properties) {
  std::vector<KafkaPropertyProblem> problems;
  const Conf conf(rd_kafka_conf_new());
  char text[512];
  for (const auto& [name, value] : properties) {
    const auto set = rd_kafka_conf_set(conf.get(), name.c_str(), value.c_str(), text, sizeof(text));
    if (set == RD_KAFKA_CONF_OK) continue;
    std::string message(text);
    if (set == RD_KAFKA_CONF_UNKNOWN) {
      message = fmt::format("'{}' is not a property of librdkafka{}", name, DidYouMean(name, Known().names));
    } else {
      message.erase(message.find_last_not_of(" \n") + 1);
      // Some of its texts say what the value is, and some do not even name the property.
      if (message.find(name) == std::string::npos) message = name + ": " + message;
      if (message.starts_with("Invalid value for")) message += fmt::format(": '{}'", value);
    }
    problems.push_back({.property = name, .message = std::move(message), .of_text = true});
  }
  const std::string protocol = AsciiLower(ValueOf(properties, "security.protocol"));
  if (protocol.ends_with("ssl")) CheckFiles(properties, kFilesOfSsl, problems);
  if (protocol.starts_with("sasl")) {
    CheckFiles(properties, kFilesOfSasl, problems);
    CheckMechanism(properties, problems);
  }
  return problems;
}

std::map<std::string, std::string> WithoutConsumerProperties(std::map<std::string, std::string> properties) {
  std::erase_if(properties, [](const auto& property) { return Known().of_consumers.contains(property.first); });
  return properties;
}

std::vector<KafkaPropertyProblem> CheckKafkaConsumerProperties(const std::map<std::string, std::string>& properties) {
  auto problems = FindProblems(properties);
  if (!problems.empty()) return problems;
  // What fits alone may not fit together. Without brokers the client has nothing to connect to.
  Properties all = WithConsumerDefaults(properties);
  all.erase("bootstrap.servers");
  all.erase("metadata.broker.list");
  Conf conf(rd_kafka_conf_new());
  char text[512];
  for (const auto& [name, value] : all) {
    if (rd_kafka_conf_set(conf.get(), name.c_str(), value.c_str(), text, sizeof(text)) != RD_KAFKA_CONF_OK) {
      return {{.property = name, .message = text}};
    }
  }
  rd_kafka_conf_set_log_cb(conf.get(), [](const rd_kafka_t*, int, const char*, const char*) {});
  const auto client = MakeHandle(RD_KAFKA_CONSUMER, std::move(conf));
  if (client.ok()) return {};
  KafkaPropertyProblem problem{.property = "", .message = client.status().message()};
  for (const auto& [name, value] : properties) {
    if (problem.message.find(name) != std::string::npos && name.size() > problem.property.size()) {
      problem.property = name;
    }
  }
  return {problem};
}

}  // namespace millrace::eventlog
