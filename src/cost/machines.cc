#include "cost/machines.h"

#include <algorithm>

namespace millrace::cost {

// Baselines: "Burstable performance instances" of the EC2 guide (20 % of each vCPU), "Shared-core machine types" of
// Compute Engine (e2-small sustains half a vCPU), "B-family" of Azure's sizes.
const std::vector<MachineType>& AllMachines() {
  constexpr auto kAws = Provider::kAws;
  constexpr auto kGcp = Provider::kGcp;
  constexpr auto kAzure = Provider::kAzure;
  constexpr auto kOwn = Provider::kOwn;
  static const std::vector<MachineType> machines = {
      {kAws, "t3.small", "aws.compute.t3.small", "small", 2, 2, 0.2, false},
      {kAws, "t4g.small", "aws.compute.t4g.small", "small", 2, 2, 0.2, true},
      {kAws, "m6i.large", "aws.compute.m6i.large", "general", 2, 8, 1, false},
      {kAws, "m7i.large", "aws.compute.m7i.large", "general", 2, 8, 1, false},
      {kAws, "m7g.large", "aws.compute.m7g.large", "general", 2, 8, 1, true},
      {kAws, "m8g.large", "aws.compute.m8g.large", "general", 2, 8, 1, true},
      {kAws, "c7g.large", "aws.compute.c7g.large", "general", 2, 4, 1, true},
      {kAws, "c8g.large", "aws.compute.c8g.large", "general", 2, 4, 1, true},
      {kAws, "m6i.2xlarge", "aws.compute.m6i.2xlarge", "large", 8, 32, 1, false},
      {kAws, "m7i.2xlarge", "aws.compute.m7i.2xlarge", "large", 8, 32, 1, false},

      {kGcp, "e2-small", "gcp.compute.e2-small", "small", 2, 2, 0.25, false},
      {kGcp, "n2-standard-2", "gcp.compute.n2-standard-2", "general", 2, 8, 1, false},
      {kGcp, "e2-standard-2", "gcp.compute.e2-standard-2", "general", 2, 8, 1, false},
      {kGcp, "n4-standard-2", "gcp.compute.n4-standard-2", "general", 2, 8, 1, false},
      {kGcp, "c4-standard-2", "gcp.compute.c4-standard-2", "general", 2, 7, 1, false},
      {kGcp, "c4a-standard-2", "gcp.compute.c4a-standard-2", "general", 2, 8, 1, true},
      {kGcp, "n2-standard-8", "gcp.compute.n2-standard-8", "large", 8, 32, 1, false},
      {kGcp, "n4-standard-8", "gcp.compute.n4-standard-8", "large", 8, 32, 1, false},
      {kGcp, "c4-standard-8", "gcp.compute.c4-standard-8", "large", 8, 30, 1, false},

      {kAzure, "B2s", "azure.compute.b2s", "small", 2, 4, 0.2, false},
      {kAzure, "B2s v2", "azure.compute.b2s-v2", "small", 2, 8, 0.4, false},
      {kAzure, "D2s v5", "azure.compute.d2s-v5", "general", 2, 8, 1, false},
      {kAzure, "D2as v5", "azure.compute.d2as-v5", "general", 2, 8, 1, false},
      {kAzure, "D2s v6", "azure.compute.d2s-v6", "general", 2, 8, 1, false},
      {kAzure, "D2ps v6", "azure.compute.d2ps-v6", "general", 2, 8, 1, true},
      {kAzure, "D8s v5", "azure.compute.d8s-v5", "large", 8, 32, 1, false},
      {kAzure, "D8s v6", "azure.compute.d8s-v6", "large", 8, 32, 1, false},

      {kOwn, "2 cores, 2 GiB", "own.core", "small", 2, 2, 1, false},
      {kOwn, "2 cores, 8 GiB", "own.core", "general", 2, 8, 1, false},
      {kOwn, "8 cores, 32 GiB", "own.core", "large", 8, 32, 1, false},
  };
  return machines;
}

const std::vector<std::string>& MachineWords() {
  static const auto words = [] {
    std::vector<std::string> all = {"small", "general", "large"};
    for (const auto& machine : AllMachines()) {
      if (machine.provider != Provider::kOwn) all.emplace_back(machine.name);
    }
    return all;
  }();
  return words;
}

const MachineType& MachineFor(Provider provider, std::string_view word) {
  const auto& machines = AllMachines();
  const auto named =
      std::find_if(machines.begin(), machines.end(), [&](const auto& machine) { return machine.name == word; });
  if (named != machines.end() && named->provider == provider) return *named;
  const std::string_view kind = named == machines.end() ? word : named->kind;
  const auto found = std::find_if(machines.begin(), machines.end(), [&](const auto& machine) {
    return machine.provider == provider && machine.kind == kind;
  });
  MILLRACE_CHECK(found != machines.end(), "no machine '{}' of {}", word, ToString(provider));
  return *found;
}

}  // namespace millrace::cost
