/// What was looked at, what was found and how to mend it: the words of `millrace doctor`. Values; any thread.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace millrace::doctor {

enum class Verdict {
  kOk,
  kWarning,  ///< The pipeline runs, but not as well or not as long as it should.
  kFailed,   ///< The pipeline does not start, or stops.
  kSkipped,  ///< It could not be looked at, for another finding.
};
/// "ok", "warning", "failed", "skipped"
std::string_view ToString(Verdict verdict);

struct Check {
  std::string name;  ///< What was looked at: "broker.topic"; several may have one name.
  Verdict verdict = Verdict::kOk;
  std::string found;  ///< What is so, and where.
  std::string mend;   ///< What to do about it; only of kWarning and kFailed.
};
using Checks = std::vector<Check>;

Check Ok(std::string name, std::string found);
Check Warning(std::string name, std::string found, std::string mend);
Check Failed(std::string name, std::string found, std::string mend);
Check Skipped(std::string name, std::string found);

/// None has failed.
bool IsHealthy(const Checks& checks);

/// A line each with what to do below it, and one that counts them.
std::string ToText(const Checks& checks);
/// {"ok", "failed", "warnings", "checks": [{"check", "verdict", "found", "mend"}]} on one line.
std::string ToJson(const Checks& checks);

}  // namespace millrace::doctor
