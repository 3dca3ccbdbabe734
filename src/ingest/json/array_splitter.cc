#include "ingest/json/array_splitter.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "ingest/json/document_reader_internal.h"
#include "ingest/payload_form.h"

namespace millrace::ingest {
namespace {

constexpr std::size_t kArrayKeptBytes = std::size_t{1} << 20;

class JsonArraySplitter final : public Splitter {
 public:
  std::optional<RecordProblem> Split(std::string_view payload, std::vector<Document>* documents) override {
    if (payload.empty()) return RecordProblem{"empty_payload", "the payload is empty"};
    const std::size_t before = documents->size();
    std::optional<RecordProblem> problem;
    if (!Read(payload, documents)) {
      documents->resize(before);
      problem = ProblemOf(payload);
    }
    if (scratch_.size() > kArrayKeptBytes) std::vector<char>().swap(scratch_);
    return problem;
  }

 private:
  // False: see reader_.
  bool Read(std::string_view payload, std::vector<Document>* documents) {
    if (scratch_.size() < payload.size() + DocumentReader::kPadding) {
      scratch_.resize(std::max(payload.size() * 2, std::size_t{4096}) + DocumentReader::kPadding);
    }
    std::memcpy(scratch_.data(), payload.data(), payload.size());
    std::memset(scratch_.data() + payload.size(), 0, DocumentReader::kPadding);
    const char* const begin = scratch_.data();
    const char* const end = begin + payload.size();
    reader_.Begin(begin, end);
    const char* p = DocumentReader::SkipSpace(begin);
    if (*p != '[') {
      if (reader_.SkipValue(p, 0) != nullptr) {
        reader_.Fail("not_array", p, fmt::format("expected an array, found {}", DocumentReader::NameOf(p)));
      }
      return false;
    }
    p = DocumentReader::SkipSpace(p + 1);
    std::size_t count = 0;
    for (bool more = *p != ']'; more;) {
      const char* const value = p;
      p = reader_.SkipValue(p, 1);
      if (p == nullptr) return false;
      if (++count > kMaxDocuments) {
        reader_.Fail(TooManyDocuments().reason, value, TooManyDocuments().detail);
        return false;
      }
      documents->push_back(
          {.bytes = payload.substr(static_cast<std::size_t>(value - begin), static_cast<std::size_t>(p - value))});
      p = DocumentReader::SkipSpace(p);
      more = *p == ',';
      if (more) p = DocumentReader::SkipSpace(p + 1);
    }
    if (*p != ']') return reader_.FailSyntax(p, "',' or ']'") != nullptr;
    p = DocumentReader::SkipSpace(p + 1);
    return p == end || reader_.FailSyntax(p, "the document's end") != nullptr;
  }

  RecordProblem ProblemOf(std::string_view payload) {
    auto failure = reader_.TakeFailure();
    if (failure.reason == "bad_json") {
      const std::string form = FormOfPayload(payload);
      if (!form.empty()) failure.detail += "; the payload looks like " + form;
    }
    return {failure.reason, std::move(failure.detail)};
  }

  std::vector<char> scratch_;
  DocumentReader reader_;
};

}  // namespace

std::unique_ptr<Splitter> MakeJsonArraySplitter(const DecodeSpec&) { return std::make_unique<JsonArraySplitter>(); }

}  // namespace millrace::ingest
