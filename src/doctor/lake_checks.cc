#include "doctor/lake_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "base/uuid.h"

namespace millrace::doctor {
namespace {

constexpr std::string_view kText = "millrace doctor tries this store. Safe to delete.\n";
// S3Store deletes those that killed processes left, after a day.
constexpr const char* kProbePrefix = ".millrace-probe-";

// What a store that answers with `status` wants.
std::string MendOf(const Status& status) {
  switch (KindOf(status)) {
    case ErrorKind::kInvalidInput:
      return "mend the credentials and their rights: reading, writing, listing and deleting below lake.uri "
             "(s3:GetObject, s3:PutObject, s3:ListBucket, s3:DeleteObject; of a folder rwx)";
    case ErrorKind::kUnsupported:
      return "take a store with conditional writes (If-None-Match): without them two writers overwrite each other's "
             "commits";
    case ErrorKind::kTransient:
    case ErrorKind::kUnknownOutcome:
      return "see whether the store runs and has room, and whether lake.s3.endpoint, region and path_style are its own";
    default:
      return "see the message; lake.uri and lake.s3 say where the store is";
  }
}

Check OfStatus(const std::string& name, const Status& status, std::string found) {
  return status.ok() ? Ok(name, std::move(found)) : Failed(name, status.message(), MendOf(status));
}

}  // namespace

Check CheckUnopened(const Status& opened, const std::string& uri) {
  return Failed("lake", fmt::format("{}: {}", uri, opened.message()), MendOf(opened));
}

Check CheckClock(std::chrono::microseconds skew) {
  const double seconds = std::chrono::duration<double>(skew).count();
  if (std::chrono::abs(skew) <= kClockSkewMax) {
    return Ok("lake.clock", fmt::format("the store's clock and ours differ by {:.1f} s", std::abs(seconds)));
  }
  return Failed(
      "lake.clock",
      fmt::format("the store's clock is {:.0f} s {} ours", std::abs(seconds), seconds > 0 ? "ahead of" : "behind"),
      "set this machine's clock (timedatectl set-ntp true), or the store's: event_time.max_future, retention "
      "and vacuum go by them");
}

Checks CheckStore(objectstore::ObjectStore& store, const Clock& clock) {
  const std::string key = fmt::format("{}{}", kProbePrefix, RandomUuid());
  const UnixMicros before = clock.Now();
  const auto first = store.PutIfAbsent(key, kText);
  const UnixMicros after = clock.Now();
  Checks checks;
  checks.push_back(OfStatus("lake.put", first.status(), store.uri() + ": an object was written"));
  if (first.ok()) {
    const auto second = store.PutIfAbsent(key, kText);
    if (second.ok() && *second == objectstore::PutOutcome::kCreated) {
      const Status ignored = Unsupported("{}: a second conditional put of one object was not refused", store.uri());
      checks.push_back(Failed("lake.conditional_put", ignored.message(), MendOf(ignored)));
    } else {
      checks.push_back(OfStatus("lake.conditional_put", second.status(), "a second put of it was refused"));
    }
    const auto read = store.Read(key);
    if (read.ok() && (*read)->ToString() != kText) {
      checks.push_back(Failed("lake.read", "the object that was written has other bytes",
                              "see what stands between this machine and the store"));
    } else {
      checks.push_back(OfStatus("lake.read", read.status(), "it was read back"));
    }
  }
  const auto listed = store.List("_");
  checks.push_back(OfStatus("lake.list", listed.status(), "objects can be listed"));
  // Even where the put has failed: only its answer may have been lost.
  if (first.ok()) {
    const auto info = store.Stat(key);
    if (info.ok() && info->has_value()) {
      // Times are to the second: the store's is between `modified` and a second later, ours between before and after.
      const UnixMicros earliest = (*info)->modified - after;
      const UnixMicros latest = (*info)->modified + 1'000'000 - before;
      const UnixMicros skew = earliest > 0 ? earliest : std::min<UnixMicros>(latest, 0);
      checks.push_back(CheckClock(std::chrono::microseconds(skew)));
    } else {
      checks.push_back(Skipped("lake.clock", "the store gives no time of the object"));
    }
  }
  const Status deleted = store.Delete(key);
  if (first.ok() || deleted.ok()) {
    Check check = OfStatus("lake.delete", deleted, "it was deleted");
    if (!deleted.ok()) check.mend += fmt::format("; the object {} is still there", key);
    checks.push_back(std::move(check));
  }
  return checks;
}

}  // namespace millrace::doctor
