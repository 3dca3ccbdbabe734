/// From what the values of fields have been to columns with types, and what is unsure of each.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "infer/draft.h"
#include "infer/field_profile.h"

namespace millrace::infer {

/// When the records came into the log, by which numbers are known as times; nullopt: nobody knows.
struct TimeFrame {
  UnixMicros first = 0;
  UnixMicros last = 0;
};
std::optional<TimeFrame> TimeFrameOf(const Sample& sample);

struct TypeGuess {
  std::string type;  ///< Empty: no type takes the values.
  std::vector<std::string> notes = {};
  std::string format = {};  ///< Of a timestamp; empty: as the type says.
  std::int64_t strays = 0;  ///< Values that are no such ones.
};

/// Of a field of JSON, whose values have types of their own. Objects and arrays of objects are structs, maps and lists
/// of them where each member has one type, or else `json`.
TypeGuess GuessJsonType(const FieldProfile& field, const std::optional<TimeFrame>& frame);

/// Of a field whose values are texts whatever they mean; `null_text` is null.
TypeGuess GuessTextType(const FieldProfile& field, std::string_view null_text, const std::optional<TimeFrame>& frame);

/// A column for each field, nested ones by their path. Those that no type takes, and those that look like secrets, are
/// there as left out. At most kColumnsMax.
std::vector<DraftColumn> JsonColumns(const DocumentProfile& profile, const std::optional<TimeFrame>& frame,
                                     ColumnNames& names);
inline constexpr std::size_t kColumnsMax = 500;

/// A value of the field, or of one within it, looks like a secret: by its name or by itself.
bool HoldsSecret(const FieldProfile& field);

/// One for each field of the lines.
std::vector<DraftColumn> CsvColumns(const std::vector<FieldProfile>& fields, std::string_view null_text,
                                    const std::optional<TimeFrame>& frame, ColumnNames& names);

/// The one of kNullTexts that stands most often among values of another kind.
std::string GuessNullText(const std::vector<FieldProfile>& fields);

/// Of the records' keys and headers, if they say something that the payload does not. `key_field`: the field that is
/// the key in every record; empty: none.
std::vector<DraftColumn> RecordColumns(const Sample& sample, const std::string& key_field,
                                       const std::optional<TimeFrame>& frame, ColumnNames& names);

}  // namespace millrace::infer
