/// The schemas that records were written with, by the number that stands before each of them.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "ingest/decode_spec.h"

namespace millrace::ingest {

enum class SchemaLanguage { kAvro, kProtobuf, kJson };

/// As messages name it: "Avro".
std::string_view LanguageName(SchemaLanguage language);

/// As a registry has it.
struct WriterSchema {
  SchemaLanguage language = SchemaLanguage::kAvro;
  std::string text;  ///< Of Protobuf: a `.proto`, or the base64 of a FileDescriptorProto.
  /// All that it refers to, directly or not; none stands before what it refers to itself.
  std::vector<SchemaReference> references = {};
};

/// Where a decoder that has a reader's schema finds those of the writers. Any thread: all decoders of a pipeline share
/// one.
class WriterSchemas {
 public:
  virtual ~WriterSchemas() = default;

  /// The schema that `id` names; null: there is none now, and records with it are dead letters. It is the same for one
  /// id whenever there is one. Waits for a moment at most. kInvalidInput: there is one that nobody can use.
  /// kTransient: it cannot be had now, but somebody is after it; the decoder hands this on, and its batch is to be
  /// decoded again once answers() is another.
  virtual Result<std::shared_ptr<const WriterSchema>> Find(std::uint64_t id) = 0;

  /// Another number whenever Find() may say something that it did not say before. Never waits.
  virtual std::uint64_t answers() const = 0;

  /// Of one that asks a registry, since it was made.
  struct State {
    std::int64_t requests = 0;     ///< Ids that were asked for, each try.
    std::int64_t failures = 0;     ///< Of these: without an answer.
    std::int64_t unknown = 0;      ///< Ids of which the answer was that there is no schema.
    std::int64_t from_memory = 0;  ///< Find() had what it was asked for.
    std::int64_t schemas = 0;      ///< Remembered.
    std::int64_t wanted = 0;       ///< Ids without an answer yet.
    std::string error = {};        ///< Of the last try; empty: it was answered.
  };
  /// Nullopt: it asks nobody.
  virtual std::optional<State> state() const { return std::nullopt; }
};

/// Waits until `schemas` has other answers than these; false: not within `patience`. Blocks: for those who do nothing
/// else.
bool AwaitOtherAnswers(const WriterSchemas& schemas, std::uint64_t answers, std::chrono::milliseconds patience);

/// What one who looks at records beside a pipeline waits for their schemas.
inline constexpr std::chrono::seconds kSchemaPatience{10};

}  // namespace millrace::ingest
