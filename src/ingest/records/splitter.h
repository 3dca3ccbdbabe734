/// Takes records apart that hold several documents (DecodeSpec::records): one payload in, its documents out.
///
/// | reason             | the record                                                                 |
/// |--------------------|----------------------------------------------------------------------------|
/// | too_many_documents | holds more than kMaxDocuments                                              |
/// | bad_json           | kArray: is not JSON                                                        |
/// | not_array          | kArray: is JSON, but not an array                                          |
/// | empty_payload      | kArray, kContainer: has no bytes                                           |
/// | bad_container      | kContainer: is not a container file, to the last byte of its last value    |
/// | too_large          | kContainer: unpacks to more than kMaxPayloadBytes                          |
///
/// Such a record is refused as a whole: nobody knows where its documents end.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "ingest/decode_spec.h"
#include "ingest/decoder.h"

namespace millrace::ingest {

/// Of one record. Each is a row or a dead letter, with the record's key and headers.
inline constexpr std::size_t kMaxDocuments = 100'000;

/// Why a record is refused.
struct RecordProblem {
  std::string_view reason;  ///< Static.
  std::string detail;
};

/// Not thread-safe: one per shard.
class Splitter {
 public:
  virtual ~Splitter() = default;

  /// Appends the documents of `payload`, which may be none: their bytes, and the schema that they were written with if
  /// the payload says it. They view the payload, or memory that lives until Clear(). After a problem nothing is
  /// appended.
  virtual std::optional<RecordProblem> Split(std::string_view payload, std::vector<Document>* documents) = 0;

  /// What a dead letter of one document holds: enough to read it alone.
  virtual std::string LetterOf(const Document& document) const { return std::string(document.bytes); }
  /// The document of such a letter, as Split().
  virtual std::optional<RecordProblem> TakeLetter(std::string_view letter, std::vector<Document>* documents) {
    documents->push_back({.bytes = letter});
    return std::nullopt;
  }

  virtual void Clear() {}
  /// Memory that lives until Clear(), also of what was refused.
  virtual std::size_t held_bytes() const { return 0; }
};

/// Null: a record is one document. kInvalidInput: the format has no such records.
Result<std::unique_ptr<Splitter>> MakeSplitter(const DecodeSpec& spec);

/// Lines of any text; "\n" and "\r\n" end one, and are not a part of it.
std::unique_ptr<Splitter> MakeLineSplitter(const DecodeSpec& spec);

/// The problem of a record with more than kMaxDocuments.
RecordProblem TooManyDocuments();

}  // namespace millrace::ingest
