/// One commit file of the log, as text and as actions. Spec: Delta PROTOCOL.md, "Delta Log Entries" and "Actions".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "delta/log/actions.h"

namespace millrace::delta {

/// The actions of a commit in order; actions and members that we do not know are left out. `name` is the file's, for
/// messages. kCorrupt: empty, not UTF-8, not JSON, cut off, or an action without a member that the spec requires.
Result<std::vector<Action>> ParseCommit(std::string_view text, const std::string& name);

/// Appends one line. An AddFile's stats and a CommitInfo's json must be valid JSON.
void AppendActionLine(std::string& out, const Action& action);

/// Two JSON texts that the readers of several modules' tests and checkpoints share: {"a":"b"} in key order.
std::string StringMapToJson(const std::map<std::string, std::string>& map);

}  // namespace millrace::delta
