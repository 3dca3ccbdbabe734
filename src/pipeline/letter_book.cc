#include "pipeline/letter_book.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "model/dead_letters.h"

namespace millrace::pipeline {

void LetterBook::Start(const std::map<std::string, std::optional<std::int64_t>>& versions) {
  for (const auto& [id, version] : versions) fence_[id] = version;
}

void LetterBook::Add(std::vector<model::DeadLetter> letters) {
  for (const auto& letter : letters) {
    auto& end = ends_[letter.source];
    end = std::max(end, letter.offset + 1);
    bytes_ += model::BytesOf(letter);
  }
  std::move(letters.begin(), letters.end(), std::back_inserter(letters_));
}

void LetterBook::Reach(const model::TopicPartition& source, model::Offset end) {
  const auto at = ends_.find(source);
  if (at != ends_.end()) at->second = std::max(at->second, end);
}

LetterEpoch LetterBook::Take() {
  bytes_ = 0;
  return {.letters = std::exchange(letters_, {}), .ends = std::exchange(ends_, {}), .fence = fence_};
}

void LetterBook::Committed(const LetterEpoch& epoch, const Progress& progress) {
  for (const auto& [source, end] : epoch.ends) {
    const std::string base = progress.AppId(source);
    for (auto& [id, version] : fence_) {
      if (id == base || id.starts_with(base + "@")) version = std::max(version.value_or(-1), end - 1);
    }
  }
}

void LetterBook::Discard() {
  letters_.clear();
  ends_.clear();
  bytes_ = 0;
}

}  // namespace millrace::pipeline
