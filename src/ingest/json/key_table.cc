#include <algorithm>
#include <bit>

#include "ingest/json/key_table_internal.h"

namespace millrace::ingest {
namespace {

constexpr std::size_t kLearnedMax = 64;
constexpr std::size_t kLearnedKeyMax = 44;  // What a slot recognises by its text.

// Written in one way only, unless its producer escapes what needs no escape: then it is looked up.
bool IsPlain(std::string_view key) {
  return std::all_of(key.begin(), key.end(), [](char c) { return c >= 0x20 && c != '"' && c != '\\' && c != 0x7F; });
}

}  // namespace

void KeySlot::SetKey(std::string_view new_key) {
  key = new_key;
  const std::string text = ",\"" + key + "\":";
  if (!IsPlain(key) || text.size() > kTextMax) return;
  text.copy(text_, text.size());
  text_length_ = static_cast<std::uint32_t>(text.size());
  const auto mask = [](std::size_t length, std::size_t part) {
    const std::size_t bytes = std::clamp<std::size_t>(length, part * 16, part * 16 + 16) - part * 16;
    return (1U << bytes) - 1;
  };
  for (std::size_t part = 0; part < 3; ++part) {
    masks_behind_comma_[part] = mask(text.size(), part);
    masks_[part] = mask(text.size() - 1, part);
  }
}

KeySlot& KeyTable::Declare(std::string_view key) {
  KeySlot& slot = slots_.emplace_back();
  slot.SetKey(key);
  slot.path = PathOf(key);
  return slot;
}

KeySlot* KeyTable::FindDeclared(std::string_view key) {
  const auto found = std::find_if(slots_.begin(), slots_.end(), [&](const KeySlot& slot) { return slot.key == key; });
  return found == slots_.end() ? nullptr : &*found;
}

void KeyTable::Freeze() {
  slots_max_ = slots_.size() + kLearnedMax;
  slots_.reserve(slots_max_);
  index_.assign(std::bit_ceil(slots_max_ * 2), nullptr);
  for (KeySlot& slot : slots_) Index(&slot);
}

KeySlot* KeyTable::Find(std::string_view key) {
  const std::size_t mask = index_.size() - 1;
  for (std::size_t at = Hash(key) & mask; index_[at] != nullptr; at = (at + 1) & mask) {
    if (index_[at]->key == key) return index_[at];
  }
  if (slots_.size() == slots_max_ || key.size() > kLearnedKeyMax || !IsPlain(key)) return nullptr;
  KeySlot& learned = slots_.emplace_back();
  learned.SetKey(key);
  Index(&learned);
  return &learned;
}

std::string KeyTable::PathOf(std::string_view key) const {
  return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
}

void KeyTable::Index(KeySlot* slot) {
  const std::size_t mask = index_.size() - 1;
  std::size_t at = Hash(slot->key) & mask;
  while (index_[at] != nullptr) at = (at + 1) & mask;
  index_[at] = slot;
}

// FNV-1a: only met when the guess fails, and the table's size is bounded whatever the keys are.
std::size_t KeyTable::Hash(std::string_view key) {
  std::uint64_t hash = 0xCBF29CE484222325;
  for (const char c : key) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3;
  return hash ^ (hash >> 32);
}

}  // namespace millrace::ingest
