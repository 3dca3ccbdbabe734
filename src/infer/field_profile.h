/// What the values of a field have been, over all records of a sample: counts, bounds and forms, never the values
/// themselves.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "ingest/values/text_shape.h"

namespace millrace::infer {

/// Of numbers, or of texts that are numbers.
struct NumberProfile {
  std::int64_t wholes = 0;
  std::int64_t fractions = 0;
  std::int64_t beyond_64_bits = 0;  ///< Of the wholes.
  std::int64_t beyond_double = 0;   ///< Of all: larger than any.
  std::int64_t leading_zeros = 0;
  std::int64_t bounded = 0;  ///< Numbers that `min` and `max` are of: wholes of 64 bits, fractions of up to 15 digits.
  std::int64_t min = 0;      ///< Without the fraction.
  std::int64_t max = 0;
  int digits_before_point = 0;  ///< The most.
  int digits_after_point = 0;

  std::int64_t count() const { return wholes + fractions; }
  void Add(const ingest::TextShape& shape, std::string_view text);
};

/// Texts that stand for null in some files. None of them is a null by itself: see GuessNullText().
inline constexpr std::string_view kNullTexts[] = {"", "NULL", "null", "\\N", "-", "NA", "N/A", "nil", "None"};
inline constexpr std::size_t kNumNullTexts = std::size(kNullTexts);

struct FieldProfile {
  std::string name;  ///< The key in its object; empty for the root and for the items of arrays.

  // Of its values; together with the records that lack it they are all records.
  std::int64_t nulls = 0;
  std::int64_t bools = 0;
  NumberProfile numbers;  ///< That were written as numbers.
  std::int64_t texts = 0;
  std::int64_t objects = 0;
  std::int64_t arrays = 0;

  // Of the texts.
  NumberProfile text_numbers;
  std::int64_t text_bools = 0;
  std::int64_t dates = 0;
  std::int64_t timestamps = 0;
  std::int64_t uuids = 0;
  std::int64_t base64 = 0;                                                       ///< That could be.
  std::array<std::int64_t, ingest::kUsualTimeFormats.size()> time_formats = {};  ///< By that; a text may be of two.
  std::int64_t secrets = 0;
  std::int64_t null_texts[kNumNullTexts] = {};  ///< By kNullTexts.

  std::int64_t equal_to_key = 0;  ///< Records whose key is this value.

  // Of values that are no objects and arrays, as far as they are counted (kDistinctMax).
  std::unordered_set<std::uint64_t> distinct;
  std::int64_t repeats = 0;

  std::vector<std::unique_ptr<FieldProfile>> members;  ///< Of the objects, in the order of their first appearance.
  std::unordered_map<std::string, std::size_t> member_index;
  std::unique_ptr<FieldProfile> items;  ///< Of all arrays together; null: there was none.

  std::int64_t scalars() const { return bools + numbers.count() + texts; }
  /// All but nulls.
  std::int64_t values() const { return scalars() + objects + arrays; }
};

/// Values of a field whose differences are counted; a field with more has "many".
inline constexpr std::size_t kDistinctMax = 4096;
/// Fields of all records together, and how deep they are looked for. What is beyond is not looked at.
inline constexpr std::size_t kFieldsMax = 2000;
inline constexpr int kDepthMax = 16;

/// The root of documents, and what was left out of it.
struct DocumentProfile {
  FieldProfile root;
  std::size_t num_fields = 0;
  bool has_more = false;  ///< There were more fields than kFieldsMax, or deeper ones than kDepthMax.
};

/// A document that is one JSON object. False: it is none, and nothing is counted. `key`: of its record.
bool ObserveJson(std::string_view document, std::optional<std::string_view> key, DocumentProfile& profile);

/// A value that is a text whatever its type: of CSV, of a key or a header.
void ObserveText(std::string_view text, FieldProfile& field);

/// The member of this name, made if need be; nullptr: there are too many.
FieldProfile* Member(std::string_view name, FieldProfile& object, DocumentProfile& profile);

}  // namespace millrace::infer
