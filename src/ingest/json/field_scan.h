/// Whether text is a JSON document, to the last letter, and what one field of it is: in one pass that copies nothing
/// but the field.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "ingest/records/splitter.h"

namespace millrace::ingest {

/// Not thread-safe.
class FieldScan {
 public:
  /// That may be read behind a document, whatever they are, but for the first, which is 0.
  static constexpr std::size_t kBytesBehind = 64;

  struct Found {
    bool is_object = false;             ///< The document is one.
    std::optional<std::string> text{};  ///< Of the field: a string's, or a number or boolean as it is written.
    bool is_composite = false;          ///< The field is an object or an array.
  };

  FieldScan();
  ~FieldScan();

  /// `path`: names with dots between them, of objects within each other; empty: no field is looked for. As decoders
  /// read it: names may be written with escapes, and of two fields of one name the last counts. bad_json, bad_utf8,
  /// too_deep: no document.
  std::optional<RecordProblem> Scan(std::string_view document, std::string_view path, Found* found);

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::ingest
