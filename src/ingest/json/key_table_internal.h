/// The keys of one object of the declared schema, found fast when documents repeat the order of those before them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ingest/values/bytes16_internal.h"
#include "ingest/values/column_internal.h"

namespace millrace::ingest {

class KeyTable;

/// A known key: declared, or one that earlier documents had and the schema skips.
///
/// Its text is `,"key":`. Almost every key is recognised by comparing that text with the document's, at a place where
/// the key of the document before was.
class KeySlot {
 public:
  /// `key` must be written in one way only: ASCII without quotes, backslashes and control characters. Else, and if it
  /// is long, it is never recognised by its text.
  void SetKey(std::string_view key);

  /// Does the document (padded by 64 bytes) go on with exactly `,"key":`?
  bool MatchesBehindComma(const char* p) const { return Matches(p, text_, masks_behind_comma_, text_length_); }
  /// ... with exactly `"key":`?
  bool Matches(const char* p) const { return Matches(p, text_ + 1, masks_, text_length_ - 1); }
  std::uint32_t text_length() const { return text_length_; }  ///< With the comma.

  ValueKind kind = ValueKind::kSkip;
  int leaf_depth = 0;             ///< Arrays and objects around its values; of kList around the elements.
  KeySlot* next = nullptr;        ///< The slot that followed this one the last time.
  Column* column = nullptr;       ///< Of leaves and lists.
  std::uint64_t* seen = nullptr;  ///< Has `seen_bit` set if the document has a value for the column.
  std::uint64_t seen_bit = 0;
  /// kObject; kSeveral: one slot for each of the columns. kStruct: of its members, in their order. kMap, and kList of
  /// what are no leaves: one slot for what is in it.
  KeyTable* child = nullptr;
  std::size_t member = 0;    ///< Of a struct: its index.
  std::int64_t seen_in = 0;  ///< Of a struct: the last object that had it.
  bool met = false;          ///< Some document had it.
  std::string key;
  std::string path;  ///< Dotted, for messages.

 private:
  static constexpr std::size_t kTextMax = 48;
  static constexpr std::uint32_t kNever = 1U << 16;  // Masks have 16 bits to match.

  static bool Matches(const char* p, const char* text, const std::uint32_t* masks, std::uint32_t length) {
    const auto matches = [&](int part) {
      return (Bytes16::Load(p + part * 16).Equal(Bytes16::Load(text + part * 16)) & masks[part]) == masks[part];
    };
    return matches(0) && (length <= 16 || (matches(1) && (length <= 32 || matches(2))));
  }

  std::uint32_t text_length_ = 0;
  std::uint32_t masks_behind_comma_[3] = {kNever, 0, 0};
  std::uint32_t masks_[3] = {kNever, 0, 0};
  char text_[kTextMax + 16] = {};
};

class KeyTable {
 public:
  /// `depth`: 1 is the document's root. `num_columns` of the whole schema.
  KeyTable(std::string path, int depth, std::size_t num_columns)
      : path_(std::move(path)), depth_(depth), columns_((num_columns + 63) / 64) {}

  /// Before the first document. The key is new. Slots keep their index.
  KeySlot& Declare(std::string_view key);
  /// Before Freeze(): the slot of a declared key, or null.
  KeySlot* FindDeclared(std::string_view key);
  /// After the last Declare(): from now on slots keep their address too.
  void Freeze();

  /// The slot of a key that has no escapes left, or null. An unknown key of plain ASCII is learned, up to a bound.
  KeySlot* Find(std::string_view key);

  KeySlot*& first() { return first_; }  ///< The slot that began the object the last time.
  int depth() const { return depth_; }
  const std::vector<KeySlot>& slots() const { return slots_; }
  std::string PathOf(std::string_view key) const;

  /// The columns below this object, as a bit set: they start anew when a document repeats the object.
  std::vector<std::uint64_t>& columns() { return columns_; }

  /// The last document of which a member of this object was rescued, see RescuedText.
  std::int64_t rescued_in() const { return rescued_in_; }
  void set_rescued_in(std::int64_t document) { rescued_in_ = document; }

 private:
  void Index(KeySlot* slot);
  static std::size_t Hash(std::string_view key);

  std::string path_;
  int depth_;
  std::vector<KeySlot> slots_;
  std::vector<KeySlot*> index_;  // Open addressing, a power of two, at most half full.
  std::size_t slots_max_ = 0;
  KeySlot* first_ = nullptr;
  std::vector<std::uint64_t> columns_;
  std::int64_t rescued_in_ = 0;
};

}  // namespace millrace::ingest
