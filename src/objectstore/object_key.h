/// What every store demands of a key. Any thread.
#pragma once

#include <string>

#include "base/status.h"

namespace millrace::objectstore {

/// kInvalidInput unless `key` is relative, '/'-separated, without empty, "." or ".." segments and without NUL: such a
/// key cannot name anything outside of the store.
Status CheckKey(const std::string& key);

}  // namespace millrace::objectstore
