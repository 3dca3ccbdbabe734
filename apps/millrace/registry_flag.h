/// A schema registry that a flag names: its URL, and the login of the environment.
#pragma once

#include <string>

#include "base/status.h"
#include "registry/registry_spec.h"

namespace millrace::app {

/// The login is that of SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD, if the first is set; that of
/// SCHEMA_REGISTRY_PROXY is asked in its place. `flag`, such as
/// "--registry", is for messages. kInvalidInput: `url` is none of a registry.
Result<registry::RegistrySpec> RegistryAt(const std::string& url, const std::string& flag);

}  // namespace millrace::app
