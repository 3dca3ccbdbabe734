/// The machines that a load can be put on: what each provider calls them, what they have, what they are sold as.
///
/// Plain values; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cost/price_sheet.h"

namespace millrace::cost {

struct MachineType {
  Provider provider = Provider::kAws;
  std::string_view name;  ///< As the provider writes it: "m7g.large".
  std::string_view sku;   ///< Of AllSkus().
  std::string_view kind;  ///< "small", "general" or "large".
  double vcpus = 0;
  double memory_gib = 0;
  double baseline = 1;  ///< Share of its vCPUs that it may use without end; less than 1: burstable.
  bool arm = false;
};

/// By provider; the first of a kind is what an estimate takes unless somebody names a machine.
const std::vector<MachineType>& AllMachines();
/// "small", "general", "large", and the names of all machines.
const std::vector<std::string>& MachineWords();
/// The machine that a word of MachineWords() means at a provider: the first of that kind, or the one of that name. A
/// machine of another provider stands for its kind.
const MachineType& MachineFor(Provider provider, std::string_view word);

}  // namespace millrace::cost
