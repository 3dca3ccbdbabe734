#include "doctor/check.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <utility>

#include "base/json_text.h"

namespace millrace::doctor {

namespace json = boost::json;

namespace {

std::ptrdiff_t CountOf(const Checks& checks, Verdict verdict) {
  return std::count_if(checks.begin(), checks.end(), [&](const Check& check) { return check.verdict == verdict; });
}

}  // namespace

std::string_view ToString(Verdict verdict) {
  switch (verdict) {
    case Verdict::kOk:
      return "ok";
    case Verdict::kWarning:
      return "warning";
    case Verdict::kFailed:
      return "failed";
    case Verdict::kSkipped:
      return "skipped";
  }
  return "unknown";
}

Check Ok(std::string name, std::string found) { return {std::move(name), Verdict::kOk, std::move(found), {}}; }
Check Warning(std::string name, std::string found, std::string mend) {
  return {std::move(name), Verdict::kWarning, std::move(found), std::move(mend)};
}
Check Failed(std::string name, std::string found, std::string mend) {
  return {std::move(name), Verdict::kFailed, std::move(found), std::move(mend)};
}
Check Skipped(std::string name, std::string found) {
  return {std::move(name), Verdict::kSkipped, std::move(found), {}};
}

bool IsHealthy(const Checks& checks) { return CountOf(checks, Verdict::kFailed) == 0; }

std::string ToText(const Checks& checks) {
  constexpr int kVerdictWidth = 8;
  std::size_t width = 0;
  for (const auto& check : checks) width = std::max(width, check.name.size());
  std::string text;
  for (const auto& check : checks) {
    text += fmt::format("{:<{}} {:<{}}  {}\n", ToString(check.verdict), kVerdictWidth, check.name, width, check.found);
    if (!check.mend.empty()) text += fmt::format("{:{}}  -> {}\n", "", kVerdictWidth + 1 + width, check.mend);
  }
  text += fmt::format("{} ok, {} warnings, {} failed, {} skipped\n", CountOf(checks, Verdict::kOk),
                      CountOf(checks, Verdict::kWarning), CountOf(checks, Verdict::kFailed),
                      CountOf(checks, Verdict::kSkipped));
  return text;
}

std::string ToJson(const Checks& checks) {
  json::array all;
  for (const auto& check : checks) {
    all.push_back(json::object{
        {"check", check.name}, {"verdict", ToString(check.verdict)}, {"found", check.found}, {"mend", check.mend}});
  }
  return JsonText(json::object{{"ok", IsHealthy(checks)},
                               {"failed", CountOf(checks, Verdict::kFailed)},
                               {"warnings", CountOf(checks, Verdict::kWarning)},
                               {"checks", std::move(all)}});
}

}  // namespace millrace::doctor
