#include "registry_flag.h"

#include <cstdlib>

#include "infer/draft.h"

namespace millrace::app {

Result<registry::RegistrySpec> RegistryAt(const std::string& url, const std::string& flag) {
  // A user in it would end in messages.
  if (url.find('@') != std::string::npos) {
    return InvalidInput("{} has a user in its URL, and such secrets end in logs; give {} and {} in the environment",
                        flag, infer::kRegistryUser, infer::kRegistryPassword);
  }
  if (const auto problem = registry::ProblemOfUrl(url)) return InvalidInput("{} {}", flag, *problem);
  registry::RegistrySpec spec{.urls = {url}};
  while (spec.urls.front().ends_with('/')) spec.urls.front().pop_back();
  const char* const user = std::getenv(infer::kRegistryUser);
  const char* const password = std::getenv(infer::kRegistryPassword);
  if (user != nullptr) spec.username = user;
  if (user != nullptr && password != nullptr) spec.password = password;
  if (const char* const proxy = std::getenv("SCHEMA_REGISTRY_PROXY"); proxy != nullptr) spec.proxy = proxy;
  return spec;
}

}  // namespace millrace::app
