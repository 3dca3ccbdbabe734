#include "infer/json_kind.h"

#include <string>

#include "ingest/json/field_scan.h"

namespace millrace::infer {

JsonKind JsonKindOf(std::string_view text) {
  std::string padded(text);
  padded.append(ingest::FieldScan::kBytesBehind, '\0');
  ingest::FieldScan scan;
  ingest::FieldScan::Found found;
  if (scan.Scan(std::string_view(padded).substr(0, text.size()), "", &found)) return JsonKind::kNone;
  return found.is_object ? JsonKind::kObject : JsonKind::kOther;
}

}  // namespace millrace::infer
