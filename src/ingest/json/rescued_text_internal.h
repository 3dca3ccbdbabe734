/// The text of `_rescued` under construction: the members of a document that no column takes, as they were written.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/status.h"
#include "ingest/json/key_table_internal.h"
#include "ingest/values/column_internal.h"

namespace millrace::ingest {

/// An object of the document that declared columns read from, while it is read. Lives on the reader's stack.
struct RescueScope {
  RescueScope* around = nullptr;  ///< Null: the document's root.
  KeyTable* table = nullptr;
  std::string_view key;  ///< From its quote to the brace of the object, as in the document. Empty: the root.
  bool is_open = false;  ///< Its brace is in the text.
  bool has_members = false;
};

/// Writes straight into the row of `column`: a document that fails is written over by the next.
///
/// Worked example, with a column of path geo.city:
///   {"geo": {"city": "Lyon", "lat" : 45.760}, "n": 1.10}   ->   {"geo": {"lat" : 45.760},"n": 1.10}
///
/// Every byte written stands for one of the document's, so no text is longer than its document.
class RescuedText {
 public:
  /// `column` outlives this.
  explicit RescuedText(Column* column) : column_(column) {}

  void BeginDocument(std::int64_t row) {
    out_ = column_->text_begin(row);
    ++document_;
  }

  /// `member`: a key and its value. Fails only when memory runs out.
  Status Keep(RescueScope& scope, std::string_view member) {
    RETURN_NOT_OK(Open(scope));
    if (scope.has_members) RETURN_NOT_OK(Append(","));
    scope.has_members = true;
    return Append(member);
  }

  /// An object that comes a second time must be there again, even if it holds nothing: for readers that take the last
  /// of two keys, the one before would count otherwise.
  bool IsRepeated(const KeyTable& table) const { return table.rescued_in() == document_; }

  Status Open(RescueScope& scope) {
    if (scope.is_open) return Status::OK();
    if (scope.around != nullptr) {
      RETURN_NOT_OK(Keep(*scope.around, scope.key));
    }
    scope.is_open = true;
    scope.table->set_rescued_in(document_);
    return Append("{");
  }

  Status Close(const RescueScope& scope) { return scope.is_open ? Append("}") : Status::OK(); }

  /// The root is closed.
  void EndDocument(std::int64_t row) { column_->SetTextEnd(row, out_); }

 private:
  Status Append(std::string_view text) {
    while (static_cast<std::size_t>(column_->text_limit() - out_) < text.size()) {
      ASSIGN_OR_RETURN(out_, column_->GrowText(out_));
    }
    std::memcpy(out_, text.data(), text.size());
    out_ += text.size();
    return Status::OK();
  }

  Column* column_;
  char* out_ = nullptr;
  std::int64_t document_ = 0;
};

}  // namespace millrace::ingest
