/// Where an issuer's keys are, a file or a URL: judged, and read.
#pragma once

#include <optional>
#include <stop_token>
#include <string>

#include "base/status.h"
#include "serve/key_cache.h"

namespace millrace::serve {

/// Where a key set is: a path, or https://. Plain http:// is for this machine only: whoever can change what comes over
/// the wire could make keys of their own.
struct KeyPlace {
  std::string jwks;
  std::string ca_file;  ///< PEM file of the authorities to trust for https://; empty: the system's.
};

/// What is wrong with the place, a file's content included; nullopt: nothing that can be told without the network.
/// `look_at_files` off: files need not be there.
std::optional<std::string> FaultOfKeyPlace(const KeyPlace& place, bool look_at_files);

/// How often a place is read: a file is looked at more often than an issuer is asked.
KeyCacheTimes TimesFor(const KeyPlace& place);

/// The document. kTransient: it is not to be had, within 10 s and 1 MiB; redirects are not followed. Ends soon after
/// `stop` was requested.
Result<std::string> ReadKeyDocument(const KeyPlace& place, const std::stop_token& stop);

}  // namespace millrace::serve
