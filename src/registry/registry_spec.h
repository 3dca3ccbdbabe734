/// Where a schema registry is and how to speak to it: `source.schema_registry` of pipeline.yaml.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace millrace::registry {

/// Secrets: never part of a message or a log line.
struct RegistrySpec {
  /// "http://localhost:8081", perhaps with a path; without a slash at the end. At least one; they are one registry, and
  /// the next is asked when one does not answer.
  std::vector<std::string> urls;
  // One of these two ways, or none.
  std::string username;  ///< Basic.
  std::string password;
  std::string bearer;
  // Of https:// alone; PEM.
  std::string ca_file;           ///< Whom to trust; empty: the system's authorities.
  std::string certificate_file;  ///< What we show; empty: nothing.
  std::string key_file;          ///< Its private key.
  std::string proxy = {};        ///< As http::ClientOptions has it.
};

/// What is wrong with one of `urls`, as the end of a sentence that begins with its place; nullopt: nothing.
std::optional<std::string> ProblemOfUrl(const std::string& url);

}  // namespace millrace::registry
