#include "pipeline/letter_notice.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "base/status.h"

namespace millrace::pipeline {

void LetterNotice::Add(std::span<const model::DeadLetter> letters) {
  if (letters.empty()) return;
  for (const auto& letter : letters) ++by_reason_[letter.reason];
  const auto& last = letters.back();
  last_ = fmt::format("{} at offset {}: {}: {}", model::ToString(last.source), last.offset, last.stage, last.detail);
}

std::optional<std::string> LetterNotice::TakeDue(Time now) {
  if (by_reason_.empty() || (said_ && now < *said_ + kEvery)) return std::nullopt;
  said_ = now;
  return TakeAll();
}

std::optional<std::string> LetterNotice::TakeAll() {
  if (by_reason_.empty()) return std::nullopt;
  std::int64_t count = 0;
  std::vector<std::string> reasons;
  for (const auto& [reason, letters] : std::exchange(by_reason_, {})) {
    count += letters;
    reasons.push_back(fmt::format("{} {}", reason, letters));
  }
  return fmt::format("{} dead letter{} ({}), the last of {}", count, count == 1 ? "" : "s", fmt::join(reasons, ", "),
                     last_);
}

}  // namespace millrace::pipeline
