/// An audit's result for people and for programs.
#pragma once

#include <string>

#include "pipeline/audit.h"

namespace millrace::app {

std::string AuditToText(const pipeline::AuditReport& report);
std::string AuditToJson(const pipeline::AuditReport& report);

}  // namespace millrace::app
