#include "ingest/json/field_scan.h"

#include <utility>

#include "ingest/json/document_reader_internal.h"
#include "ingest/payload_form.h"
#include "ingest/values/utf8_text_internal.h"

namespace millrace::ingest {

class FieldScan::Impl {
 public:
  std::optional<RecordProblem> Scan(std::string_view document, std::string_view path, Found* found) {
    *found = {};
    const char* const begin = document.data();
    const char* const end = begin + document.size();
    reader_.Begin(begin, end);
    const char* p = DocumentReader::SkipSpace(begin);
    found->is_object = *p == '{';
    p = found->is_object && !path.empty() ? ReadObject(p, 0, path, found) : reader_.SkipValue(p, 0);
    if (p != nullptr) {
      p = DocumentReader::SkipSpace(p);
      if (p != end) p = reader_.FailSyntax(p, "the document's end");
    }
    if (p != nullptr && reader_.has_high_bytes() && !IsUtf8(document))
      p = reader_.Fail("bad_utf8", nullptr, "not UTF-8");
    if (p != nullptr) return std::nullopt;
    auto failure = reader_.TakeFailure();
    if (failure.reason == "bad_json") {
      const std::string form = FormOfPayload(document);
      if (!form.empty()) failure.detail += "; the payload looks like " + form;
    }
    return RecordProblem{failure.reason, std::move(failure.detail)};
  }

 private:
  // `p`: at its brace. `depth`: how many objects are around it, which is less than the path has names.
  const char* ReadObject(const char* p, int depth, std::string_view path, Found* found) {
    const std::string_view wanted = path.substr(0, path.find('.'));
    p = DocumentReader::SkipSpace(p + 1);
    if (*p == '}') return p + 1;
    for (;;) {
      std::string_view name;
      if (*p != '"') return reader_.FailSyntax(p, "a key");
      p = reader_.ReadText(p + 1, &name);
      if (p == nullptr) return nullptr;
      const bool is_wanted = name == wanted;
      p = DocumentReader::SkipSpace(p);
      if (*p != ':') return reader_.FailSyntax(p, "':'");
      p = DocumentReader::SkipSpace(p + 1);
      p = is_wanted ? ReadField(p, depth, path.substr(wanted.size()), found) : reader_.SkipValue(p, depth + 1);
      if (p == nullptr) return nullptr;
      p = DocumentReader::SkipSpace(p);
      if (*p == '}') return p + 1;
      if (*p != ',') return reader_.FailSyntax(p, "',' or '}'");
      p = DocumentReader::SkipSpace(p + 1);
    }
  }

  // `rest`: of the path, empty or from its dot on.
  const char* ReadField(const char* p, int depth, std::string_view rest, Found* found) {
    found->text.reset();
    found->is_composite = false;
    if (!rest.empty())
      return *p == '{' ? ReadObject(p, depth + 1, rest.substr(1), found) : reader_.SkipValue(p, depth + 1);
    if (*p == '"') {
      std::string_view text;
      p = reader_.ReadText(p + 1, &text);
      if (p != nullptr) found->text.emplace(text);
      return p;
    }
    const char* const begin = p;
    p = reader_.SkipValue(p, depth + 1);
    found->is_composite = *begin == '{' || *begin == '[';
    if (p != nullptr && !found->is_composite && *begin != 'n') found->text.emplace(begin, p);
    return p;
  }

  DocumentReader reader_;
};

FieldScan::FieldScan() : impl_(std::make_unique<Impl>()) {}
FieldScan::~FieldScan() = default;

std::optional<RecordProblem> FieldScan::Scan(std::string_view document, std::string_view path, Found* found) {
  return impl_->Scan(document, path, found);
}

}  // namespace millrace::ingest
