/// The documents that a registry answers with. Spec: Confluent's Schema Registry API reference.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "ingest/writer_schemas.h"

namespace millrace::registry {

/// A schema; what else is in the document is passed over.
struct Answer {
  struct Reference {
    std::string name;
    std::string subject;
    std::int64_t version = 0;
  };
  std::string type;  ///< "AVRO", "PROTOBUF", "JSON"; empty: it was left out, which is Avro.
  std::string schema;
  std::vector<Reference> references;
  std::int64_t id = 0;       ///< 0: it is not there.
  std::int64_t version = 0;  ///< Likewise.
};

/// kTransient: it is none, so who answered may not have been the registry.
Result<Answer> ParseAnswer(const std::string& body);

/// The id of a schema that was registered. kTransient as ParseAnswer().
Result<std::uint32_t> ParseRegistered(const std::string& body);

/// Nullopt: nobody knows it.
std::optional<ingest::SchemaLanguage> LanguageOf(std::string_view type);

/// The other way: "AVRO".
std::string_view TypeOf(ingest::SchemaLanguage language);

/// Why there is no schema.
struct Problem {
  std::optional<std::int64_t> code;  ///< `error_code`; nullopt: it is no document of a registry.
  std::string message;               ///< For one line of a log; of what is no such document, its beginning.
};
Problem ParseProblem(const std::string& body);

}  // namespace millrace::registry
