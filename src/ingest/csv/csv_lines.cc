#include "ingest/csv/csv_lines.h"

#include <algorithm>

namespace millrace::ingest {
namespace {

class CsvLineSplitter final : public Splitter {
 public:
  explicit CsvLineSplitter(const CsvSpec& spec) : spec_(spec), field_ends_{spec.delimiter, '\n'} {}

  std::optional<RecordProblem> Split(std::string_view payload, std::vector<Document>* documents) override {
    const std::size_t before = documents->size();
    for (std::size_t at = 0; at < payload.size();) {
      const std::size_t end = EndOfLine(payload, at);
      std::string_view line = payload.substr(at, end - at);
      at = end + 1;
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

 private:
  // Of the line that begins at `begin`: where its line break is, or the text's end.
  std::size_t EndOfLine(std::string_view text, std::size_t begin) const {
    for (std::size_t at = begin;;) {
      if (spec_.quote && at < text.size() && text[at] == *spec_.quote) {
        at = EndOfQuoted(text, at);
        if (at == std::string_view::npos) return std::min(text.find('\n', begin), text.size());
      }
      at = text.find_first_of(std::string_view(field_ends_, 2), at);
      if (at == std::string_view::npos) return text.size();
      if (text[at] == '\n') return at;
      ++at;
    }
  }

  // Behind the quote that ends the field which begins with one at `at`; npos: it does not end. That takes the time of
  // all that is left, but at most once a payload: the quotes that such a field passes over stand in pairs, or behind an
  // escape, so no field behind it begins with one that has no end.
  std::size_t EndOfQuoted(std::string_view text, std::size_t at) const {
    const char quote = *spec_.quote;
    for (++at; at < text.size(); ++at) {
      const char c = text[at];
      if (c == spec_.escape && at + 1 < text.size() && (text[at + 1] == quote || text[at + 1] == spec_.escape)) {
        ++at;
      } else if (c == quote) {
        return at + 1;
      }
    }
    return std::string_view::npos;
  }

  const CsvSpec spec_;
  const char field_ends_[2];
};

}  // namespace

std::unique_ptr<Splitter> MakeCsvLineSplitter(const DecodeSpec& spec) {
  return std::make_unique<CsvLineSplitter>(spec.csv);
}

}  // namespace millrace::ingest
