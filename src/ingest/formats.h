/// The formats that events can have. A new one is a folder with its decoder and a row in formats.cc.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "ingest/decode_spec.h"
#include "ingest/decoder.h"
#include "ingest/records/splitter.h"

namespace millrace::ingest {

/// What a format makes of DecodeSpec::schema.
enum class SchemaUse {
  kNone,     ///< It has none.
  kColumns,  ///< It may have one, which says the columns where none are declared, and nothing else.
  kFile,     ///< It needs a file, which is one schema.
  kMessage   ///< It needs a file and the name of a message in it.
};

struct Format {
  std::string_view name;  ///< DecodeSpec::format.
  SchemaUse schema = SchemaUse::kNone;
  std::span<const Framing> framings;  ///< That it can have.
  std::span<const Records> records;   ///< Likewise.
  /// kInvalidInput: a schema that is none, or columns that this format cannot have. Their names are checked already,
  /// and schema and framing are as above.
  Result<std::unique_ptr<Decoder>> (*make_decoder)(const DecodeSpec& spec) = nullptr;
  /// A column for each field of spec.schema, in their order, with whatever names the fields have; spec.columns does not
  /// count. kInvalidInput: the schema is none, or a field cannot be a column. Null for SchemaUse::kNone.
  Result<std::vector<ColumnSpec>> (*columns_of_schema)(const DecodeSpec& spec) = nullptr;
  /// Of spec.records other than kOne. Null: it has no others.
  std::unique_ptr<Splitter> (*make_splitter)(const DecodeSpec& spec) = nullptr;
};

std::span<const Format> Formats();
/// Null: there is none of this name.
const Format* FindFormat(std::string_view name);

/// Of the columns that a payload gives. kInvalidInput: a format that there is not, a schema, a framing or records that
/// it does not have, more than 10,000 columns, a name that is empty or taken, or what the format says.
Result<std::unique_ptr<Decoder>> MakeDecoder(const DecodeSpec& spec);

}  // namespace millrace::ingest
