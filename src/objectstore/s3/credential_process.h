/// A program of the user's that prints credentials. Spec: AWS documentation, "Sourcing credentials with an external
/// process".
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "base/status.h"

namespace millrace::objectstore::s3 {

/// What `command`, run by /bin/sh, prints on standard output. Its standard error is ours: it may ask or complain there.
/// kInvalidInput: it fails, or prints more than 64 KiB; kTransient: it takes longer than `timeout`, and is killed;
/// kCancelled: `cancelled`, asked ten times a second, says so, and it is killed. No message holds what it printed,
/// which is secret. Any thread.
Result<std::string> RunCredentialProcess(const std::string& command, std::chrono::milliseconds timeout,
                                         const std::function<bool()>& cancelled);

}  // namespace millrace::objectstore::s3
