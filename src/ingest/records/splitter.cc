#include "ingest/records/splitter.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace millrace::ingest {
namespace {

class LineSplitter final : public Splitter {
 public:
  std::optional<RecordProblem> Split(std::string_view payload, std::vector<Document>* documents) override {
    const std::size_t before = documents->size();
    while (!payload.empty()) {
      const auto* const end = static_cast<const char*>(std::memchr(payload.data(), '\n', payload.size()));
      std::string_view line =
          end == nullptr ? payload : payload.substr(0, static_cast<std::size_t>(end - payload.data()));
      payload.remove_prefix(std::min(line.size() + 1, payload.size()));
      if (line.ends_with('\r')) line.remove_suffix(1);
      if (line.empty()) continue;
      if (documents->size() - before == kMaxDocuments) {
        documents->resize(before);
        return TooManyDocuments();
      }
      documents->push_back({.bytes = line});
    }
    return std::nullopt;
  }
};

}  // namespace

std::unique_ptr<Splitter> MakeLineSplitter(const DecodeSpec&) { return std::make_unique<LineSplitter>(); }

RecordProblem TooManyDocuments() {
  return {"too_many_documents", fmt::format("more than {} documents in one record", kMaxDocuments)};
}

}  // namespace millrace::ingest
