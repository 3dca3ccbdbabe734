#include "registry/registry_spec.h"

#include <fmt/format.h>

namespace millrace::registry {

std::optional<std::string> ProblemOfUrl(const std::string& url) {
  const auto scheme_end = url.find("://");
  const std::string rest = scheme_end == std::string::npos ? "" : url.substr(scheme_end + 3);
  const std::string host = rest.substr(0, rest.find('/'));
  if ((!url.starts_with("http://") && !url.starts_with("https://")) || host.empty() || host.front() == ':' ||
      rest.find_first_of("?# ") != std::string::npos) {
    return fmt::format("must be http:// or https://, a host and perhaps a port and a path, not '{}'", url);
  }
  if (host.find('@') != std::string::npos) {
    return "has a user in it, and such secrets end in logs; give basic_auth: {username: ..., password: ...}";
  }
  return std::nullopt;
}

}  // namespace millrace::registry
