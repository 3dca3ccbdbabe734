/// Random identifiers.
#pragma once

#include <string>

namespace millrace {

/// A random (version 4) UUID in its 36-character form, from the operating system's generator: processes that were
/// forked or restored from one image never repeat each other. Any thread.
std::string RandomUuid();

}  // namespace millrace
