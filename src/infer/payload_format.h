/// What the payloads of a sample look like: which format, and how it is framed or written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "infer/sample.h"
#include "ingest/decode_spec.h"

namespace millrace::infer {

/// What one payload can be told to be by itself.
enum class PayloadShape {
  kEmpty,
  kJsonObject,
  kJsonArray,      ///< One array.
  kJsonLines,      ///< Several objects, one after the other.
  kConfluent,      ///< A zero byte and a registry's schema id, then something.
  kConfluentJson,  ///< The same, then a JSON object.
  kSingleObject,   ///< Avro's C3 01.
  kContainer,      ///< An Avro container file.
  kGzip,
  kZstd,
  kText,  ///< UTF-8, one line or more.
  kBinary,
};

PayloadShape ShapeOf(std::string_view payload);
/// As messages name it: "a JSON array".
std::string_view ShapeName(PayloadShape shape);

struct PayloadShapes {
  std::map<PayloadShape, std::int64_t> counts;
  std::vector<std::uint32_t> schema_ids;  ///< Of Confluent's framing, each once, at most 20.

  /// The most frequent one; kEmpty if there are no payloads.
  PayloadShape most() const;
  std::int64_t count(PayloadShape shape) const;
};

PayloadShapes ShapesOf(const Sample& sample);

/// Lines of CSV, as ingest::CsvSpec has them.
struct CsvShape {
  char delimiter = ',';
  std::size_t num_fields = 0;
  std::vector<std::string> header = {};  ///< Of a header line, which the sample has; empty: it has none.
  std::string header_line = {};          ///< The payload itself, without its line break.
};

/// The fields of a line, without their quotes. Which of them were in quotes does not matter to who guesses.
std::vector<std::string> SplitCsv(std::string_view line, char delimiter);

/// False: the texts do not look like lines of one table. A line is a header if it is a partition's first, has a text of
/// its own in each field, and some column has values that are no texts below it: where all columns are texts, a header
/// cannot be told from a row, and none is guessed.
bool GuessCsv(const Sample& sample, CsvShape* shape);

/// Is this payload the header line of `shape`?
bool IsHeader(std::string_view payload, const CsvShape& shape);

}  // namespace millrace::infer
