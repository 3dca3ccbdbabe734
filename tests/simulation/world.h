/// One seed's world: a pipeline of two tables and its dead letters, several workers on it, a producer, and all that
/// goes wrong. Which faults there are is drawn too, so that rare ones meet without being drowned by common ones.
#pragma once

#include <cstdint>
#include <memory>

#include "pipeline/plan.h"

namespace millrace::simulation {

/// The pipeline that all worlds run. Its SQL is planned here, once.
Result<std::shared_ptr<const pipeline::Plan>> BasePlan();

/// From the first worker to the last check; the caller is the machine's first task. Fail() ends it when something does
/// not hold.
void Play(const pipeline::Plan& base);

}  // namespace millrace::simulation
