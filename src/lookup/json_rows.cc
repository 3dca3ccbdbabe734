#include "lookup/json_rows.h"

#include <arrow/table.h>

#include <algorithm>

#include "ingest/formats.h"
#include "model/event_batch.h"

namespace millrace::lookup {
namespace {

// Decoded at a time: a decoder takes 2 GiB at most, and errors come early.
constexpr std::size_t kBytesAtOnce = 16 << 20;

std::ptrdiff_t LineOf(std::string_view text, std::size_t offset) {
  return 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(offset), '\n');
}

// After the value that begins with a brace at `begin`; npos: it does not end.
std::size_t EndOfObject(std::string_view text, std::size_t begin) {
  int depth = 0;
  bool in_text = false;
  for (std::size_t at = begin; at < text.size(); ++at) {
    const char c = text[at];
    if (in_text) {
      if (c == '\\') ++at;
      if (c == '"') in_text = false;
    } else if (c == '"') {
      in_text = true;
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if ((c == '}' || c == ']') && --depth == 0) {
      return at + 1;
    }
  }
  return std::string_view::npos;
}

}  // namespace

Result<std::vector<std::string_view>> JsonObjects(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  const auto next = [&](std::size_t at) { return text.find_first_not_of(" \t\r\n", at); };
  const auto refuse = [&](std::size_t at, std::string_view what) {
    return InvalidInput("line {}: {}", LineOf(text, at), what);
  };
  std::vector<std::string_view> objects;
  std::size_t at = next(0);
  const bool is_array = at != std::string_view::npos && text[at] == '[';
  if (is_array) at = next(at + 1);
  bool needs_comma = false;
  for (; at != std::string_view::npos && !(is_array && text[at] == ']'); at = next(at)) {
    if (needs_comma) {
      if (text[at] != ',') return refuse(at, "a comma is missing between two objects");
      at = next(at + 1);
    }
    if (at == std::string_view::npos || text[at] != '{') {
      return refuse(std::min(at, text.size()), "expected an object");
    }
    const std::size_t end = EndOfObject(text, at);
    if (end == std::string_view::npos) return refuse(at, "the object that begins here does not end");
    objects.push_back(text.substr(at, end - at));
    needs_comma = is_array;
    at = end;
  }
  if (is_array) {
    if (at == std::string_view::npos) return refuse(text.size(), "the array does not end");
    if (const auto after = next(at + 1); after != std::string_view::npos) {
      return refuse(after, "something comes after the array");
    }
  }
  return objects;
}

Result<std::shared_ptr<arrow::RecordBatch>> JsonRows(std::string_view file,
                                                     const std::vector<ingest::ColumnSpec>& columns) {
  ASSIGN_OR_RETURN(const auto objects, JsonObjects(file));
  const ingest::DecodeSpec spec{.format = "json", .columns = columns};
  ASSIGN_OR_RETURN(const auto decoder, ingest::MakeDecoder(spec));
  const model::RawRecord no_record;
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  for (std::size_t begin = 0; begin < objects.size();) {
    std::vector<ingest::Document> documents;
    std::size_t bytes = 0;
    while (begin + documents.size() < objects.size() && (documents.empty() || bytes < kBytesAtOnce)) {
      const auto object = objects[begin + documents.size()];
      bytes += object.size();
      documents.push_back({object, &no_record});
    }
    ASSIGN_OR_RETURN(auto decoded, decoder->Decode(documents));
    if (!decoded.refused.empty()) {
      const auto& first = decoded.refused.front();
      const auto offset = static_cast<std::size_t>(objects[begin + first.document].data() - file.data());
      return InvalidInput("line {}: {} ({})", LineOf(file, offset), first.reason, first.detail);
    }
    batches.push_back(std::move(decoded.rows));
    begin += documents.size();
  }
  ASSIGN_OR_RETURN(const auto table, arrow::Table::FromRecordBatches(ingest::DecodedSchema(spec), batches));
  return table->CombineChunksToBatch();
}

}  // namespace millrace::lookup
