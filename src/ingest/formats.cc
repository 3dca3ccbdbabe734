#include "ingest/formats.h"

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/nearest_name.h"
#include "ingest/json/computed_fields.h"
#include "ingest/json/json_decoder.h"
#include "ingest/provenance.h"

namespace millrace::ingest {
namespace {

Result<std::unique_ptr<Decoder>> MakeJson(const DecodeSpec& spec) {
  ASSIGN_OR_RETURN(auto decoder, MakeJsonDecoder(spec));
  if (spec.computed.empty()) return decoder;
  return MakeComputingDecoder(spec, std::move(decoder));
}

constexpr std::array kFormats = {
    Format{"json", MakeJson},
};

constexpr std::size_t kMaxColumns = 10'000;

Status CheckNames(const DecodeSpec& spec) {
  if (spec.columns.size() > kMaxColumns) return InvalidInput("{} columns", spec.columns.size());
  std::set<std::string_view> names(kProvenanceColumns.begin(), kProvenanceColumns.end());
  if (spec.has_rescued_column()) names.insert(kRescuedColumn);
  for (const ColumnSpec& column : spec.columns) {
    if (column.name.empty()) return InvalidInput("a column has no name");
    if (!names.insert(column.name).second) return InvalidInput("column '{}': the name is taken", column.name);
  }
  return Status::OK();
}

}  // namespace

std::span<const Format> Formats() { return kFormats; }

Result<std::unique_ptr<Decoder>> MakeDecoder(const DecodeSpec& spec) {
  RETURN_NOT_OK(CheckNames(spec));
  const auto format =
      std::find_if(kFormats.begin(), kFormats.end(), [&](const Format& one) { return one.name == spec.format; });
  if (format != kFormats.end()) return format->make_decoder(spec);
  std::vector<std::string> names;
  for (const Format& one : kFormats) names.emplace_back(one.name);
  return InvalidInput("there is no format '{}'{}", spec.format, DidYouMean(spec.format, names));
}

}  // namespace millrace::ingest
