#include "cost/advice.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <set>
#include <tuple>

#include "base/ascii_case.h"
#include "base/nearest_name.h"
#include "cost/machines.h"

namespace millrace::cost {
namespace {

std::string Usd(Money money) { return ToCents(money); }
std::string People(double number) { return ToPeople(Quantity::FromMicros(std::llround(number * 1e6))); }
std::string Gb(double gb) { return People(gb) + " GB"; }

class Adviser {
 public:
  Adviser(const Estimate& estimate, const PriceSheet& sheet) : estimate_(estimate), sheet_(sheet) {}

  Result<std::vector<Advice>> All(const std::optional<Near>& near) {
    RETURN_NOT_OK(CheapestMachine());
    RETURN_NOT_OK(ZoneTraffic());
    RETURN_NOT_OK(Broker());
    RETURN_NOT_OK(LogServices());
    RETURN_NOT_OK(Freshness());
    RETURN_NOT_OK(StoredShare());
    RETURN_NOT_OK(Files());
    RETURN_NOT_OK(Cdn());
    RETURN_NOT_OK(Regions(near));
    std::stable_sort(advice_.begin(), advice_.end(),
                     [](const Advice& a, const Advice& b) { return a.saving > b.saving; });
    return std::move(advice_);
  }

 private:
  Result<Estimate> With(const Usage& usage) const { return WithRegion(usage, estimate_.region.name); }
  Result<Estimate> WithRegion(const Usage& usage, const std::string& region) const {
    return MakeEstimate(usage, estimate_.provider, region, sheet_, estimate_.today);
  }

  Money Of(const Estimate& estimate, Category category) const {
    return estimate.by_category[static_cast<std::size_t>(category)];
  }
  const EstimateLine* Line(const Estimate& estimate, const std::string& name) const {
    for (const auto& line : estimate.lines) {
      if (line.resource.name == name) return &line;
    }
    return nullptr;
  }
  bool Complete(const Estimate& estimate, Category category) const {
    return !estimate.has_missing[static_cast<std::size_t>(category)];
  }
  void Add(std::string id, Money saving, std::string title, std::string arithmetic) {
    advice_.push_back({std::move(id), std::move(title), std::move(arithmetic), std::max(saving, Money())});
  }

  const EstimateLine* Workers(const Estimate& estimate) const {
    for (const auto& line : estimate.lines) {
      if (line.resource.name.starts_with(kWorkers)) return &line;
    }
    return nullptr;
  }

  // The load on every machine of the provider. One with less memory than the present one is told of, not advised.
  Status CheapestMachine() {
    if (estimate_.provider == Provider::kOwn) return Status::OK();
    const auto& present = MachineFor(estimate_.provider, estimate_.usage.machine);
    struct Candidate {
      const MachineType* type;
      double nodes;
      Money usd;
      Money money;
    };
    std::vector<Candidate> candidates;
    std::vector<std::string_view> unpriced;
    for (const auto& type : AllMachines()) {
      if (type.provider != estimate_.provider) continue;
      Usage usage = estimate_.usage;
      usage.machine = type.name;
      ASSIGN_OR_RETURN(const auto there, With(usage));
      const auto* line = Workers(there);
      if (line == nullptr) return Status::OK();
      if (line->price) {
        candidates.push_back(
            {&type, line->resource.quantity.value() / kHoursPerMonth, line->price->tiers[0].usd, line->money});
      } else {
        unpriced.push_back(type.name);
      }
    }
    std::stable_sort(candidates.begin(), candidates.end(),
                     [](const Candidate& a, const Candidate& b) { return a.money < b.money; });
    const auto named = [&](const Candidate& candidate) {
      const auto& type = *candidate.type;
      return fmt::format("{:g} x {} ({:g} vCPU, {:g} GiB{}) x 730 h x {} = {}", candidate.nodes, type.name, type.vcpus,
                         type.memory_gib, type.arm ? ", Arm" : "", ToDecimal(candidate.usd), Usd(candidate.money));
    };
    const Candidate* now = nullptr;
    const Candidate* best = nullptr;
    std::string list;
    std::string small;
    int listed = 0;
    constexpr int kFew = 3;
    for (const auto& candidate : candidates) {
      if (candidate.type == &present) now = &candidate;
      if (candidate.type->memory_gib < present.memory_gib) {
        if (small.empty()) small = "; with less memory: " + named(candidate);
        continue;
      }
      if (best == nullptr) best = &candidate;
      if (++listed > kFew && candidate.type != &present) continue;
      list += (list.empty() ? "" : "; ") + named(candidate);
    }
    if (now == nullptr) return Status::OK();
    const std::string without =
        unpriced.empty() ? "" : fmt::format("; without a price here: {}", fmt::join(unpriced, ", "));
    const std::string arithmetic =
        fmt::format("{} events/s and {} queries/s a vCPU on every kind (measure yours), {:g} at least: {}{}{}",
                    People(estimate_.usage.events_per_vcpu), People(estimate_.usage.queries_per_vcpu),
                    estimate_.usage.nodes_min, list, small, without);
    if (best->money < now->money) {
      Add("machine", now->money - best->money,
          fmt::format(
              "The cheapest machine that carries this load is {}{}: {} a month for {:g} against {} for {:g} x {}.",
              best->type->name, best->type->arm ? " (Arm)" : "", Usd(best->money), best->nodes, Usd(now->money),
              now->nodes, present.name),
          arithmetic + fmt::format(". --compute-machine '{}'", best->type->name));
    } else {
      Add("machine", Money(),
          fmt::format("{} is the cheapest machine that carries this load: {} a month for {:g}.", present.name,
                      Usd(now->money), now->nodes),
          arithmetic);
    }
    return Status::OK();
  }

  Status ZoneTraffic() {
    const Money now = Of(estimate_, Category::kZoneTraffic);
    const Usage& usage = estimate_.usage;
    if (now == Money() || usage.zones < 2) return Status::OK();
    Usage produce_only = usage;
    produce_only.follower_fetch = true;
    ASSIGN_OR_RETURN(const auto near_reads, With(produce_only));
    const Money saved = now - Of(near_reads, Category::kZoneTraffic);
    const double wire_gb =
        usage.events_per_second * usage.bytes_per_event * usage.wire_compression * kSecondsPerMonth / 1e9;
    const double away = (usage.zones - 1) / usage.zones;
    const double replicate =
        usage.broker_mode == BrokerMode::kManaged ? 0 : usage.replication - std::ceil(usage.replication / usage.zones);
    const double consume = usage.follower_fetch ? 0 : away * usage.fan_out;
    const double all = away + consume + replicate;
    const std::string parts = fmt::format(
        "{} on the wire: {:.0f} % of the traffic is producers to leaders, {:.0f} % leaders to consumers, {:.0f} "
        "% "
        "leaders to replicas",
        Gb(wire_gb), 100 * away / all, 100 * consume / all, 100 * replicate / all);
    if (saved > Money()) {
      Add("zone-traffic", saved,
          fmt::format(
              "Reading from the replica in one's own zone saves {} of the {} a month for traffic between zones.",
              Usd(saved), Usd(now)),
          parts + fmt::format("; with follower fetch (client.rack) the {} to consumers stay in their zone",
                              Gb(wire_gb * consume)));
    } else {
      Add("zone-traffic", Money(), fmt::format("Traffic between zones costs {} a month.", Usd(now)), parts);
    }
    return Status::OK();
  }

  Money LogCost(const Estimate& estimate) const {
    return Of(estimate, Category::kEventLog) + Of(estimate, Category::kZoneTraffic);
  }
  Result<std::optional<std::pair<Money, Money>>> SelfAndManaged(double events_per_second) const {
    Usage self = estimate_.usage;
    self.events_per_second = events_per_second;
    self.broker_mode = BrokerMode::kSelf;
    Usage managed = self;
    managed.broker_mode = BrokerMode::kManaged;
    ASSIGN_OR_RETURN(const auto one, With(self));
    ASSIGN_OR_RETURN(const auto other, With(managed));
    for (const auto* estimate : {&one, &other}) {
      if (!Complete(*estimate, Category::kEventLog) || !Complete(*estimate, Category::kZoneTraffic)) {
        return std::nullopt;
      }
    }
    return std::pair(LogCost(one), LogCost(other));
  }

  Status Broker() {
    const Usage& usage = estimate_.usage;
    if (estimate_.provider == Provider::kOwn) return Status::OK();
    if (usage.broker_mode != BrokerMode::kSelf && usage.broker_mode != BrokerMode::kManaged) return Status::OK();
    ASSIGN_OR_RETURN(const auto here, SelfAndManaged(usage.events_per_second));
    if (!here) {
      Add("broker", Money(),
          "Self-run and managed brokers cannot be compared here: a price of the event log is missing.",
          "see the missing prices");
      return Status::OK();
    }
    const auto [self, managed] = *here;
    const bool managed_is_cheaper = managed < self;
    // Break-even: the first rate on a fine grid at which the cheaper one changes. Steps of 5 %, since both move in
    // whole machines and a root would be sharper than the model.
    std::string break_even = "no break-even between 1/100 and 100 times this rate";
    for (double factor = 1.05; factor < 100; factor *= 1.05) {
      for (const double rate : {usage.events_per_second * factor, usage.events_per_second / factor}) {
        const auto there = SelfAndManaged(rate);
        if (!there.ok() || !*there || ((*there)->second < (*there)->first) == managed_is_cheaper) continue;
        break_even = fmt::format("break-even near {:.3g} events/s, where self-run costs {} and managed {}", rate,
                                 Usd((*there)->first), Usd((*there)->second));
        factor = 100;
        break;
      }
    }
    const bool uses_managed = usage.broker_mode == BrokerMode::kManaged;
    const Money difference = managed_is_cheaper ? self - managed : managed - self;
    Add("broker", managed_is_cheaper != uses_managed ? difference : Money(),
        fmt::format("{} brokers are cheaper here, by {} a month before anybody's time.",
                    managed_is_cheaper ? "Managed" : "Self-run", Usd(difference)),
        fmt::format("event log and its traffic between zones: self-run {}, managed {}; {}", Usd(self), Usd(managed),
                    break_even));
    return Status::OK();
  }

  // What each way to keep the log costs here; one with a missing price is named and not compared.
  Status LogServices() {
    const Usage& usage = estimate_.usage;
    if (usage.broker_mode != BrokerMode::kSelf && usage.broker_mode != BrokerMode::kManaged) return Status::OK();
    const auto services = LogServicesOf(estimate_.provider);
    if (services.empty()) return Status::OK();
    struct Way {
      std::string name;
      std::string flags;
      Money money;
    };
    std::vector<Way> ways;
    std::string list;
    std::string left_out;
    const auto add = [&](const Usage& with, std::string name, std::string flags) -> Status {
      ASSIGN_OR_RETURN(const auto there, With(with));
      if (!Complete(there, Category::kEventLog) || !Complete(there, Category::kZoneTraffic)) {
        left_out += (left_out.empty() ? "; without a price: " : ", ") + name;
        return Status::OK();
      }
      list += fmt::format("{}{} {}", list.empty() ? "" : ", ", name, Usd(LogCost(there)));
      ways.push_back({std::move(name), std::move(flags), LogCost(there)});
      return Status::OK();
    };
    Usage with = usage;
    with.broker_mode = BrokerMode::kSelf;
    RETURN_NOT_OK(add(with, "brokers on machines", "--broker-mode self"));
    with.broker_mode = BrokerMode::kManaged;
    for (const auto service : services) {
      with.log_service = service;
      std::string flags = "--broker-mode managed --broker-service ";
      for (const auto& field : UsageFields()) {
        if (field.name == "broker.service") flags += field.get(with);
      }
      RETURN_NOT_OK(add(with, std::string(NameOf(estimate_.provider, service)), std::move(flags)));
    }
    if (ways.empty()) return Status::OK();
    const auto best =
        std::min_element(ways.begin(), ways.end(), [](const Way& a, const Way& b) { return a.money < b.money; });
    const bool comparable = Complete(estimate_, Category::kEventLog) && Complete(estimate_, Category::kZoneTraffic);
    const Money saved = comparable ? LogCost(estimate_) - best->money : Money();
    const bool saves = saved > Money();
    Add("log-service", saved,
        fmt::format("The cheapest way to keep the log is {}: {} a month{}.", best->name, Usd(best->money),
                    saves ? fmt::format(" against {} now", Usd(LogCost(estimate_))) : ""),
        fmt::format("event log and its traffic between zones: {}{}{}", list, left_out,
                    saves ? ". " + best->flags : ""));
    return Status::OK();
  }

  Money RequestCost(const Estimate& estimate) const {
    Money total;
    for (const char* name : {"Writes: files, commits, checkpoints", "Reads: writers check their version"}) {
      if (const auto* line = Line(estimate, name)) total += line->money;
    }
    return total;
  }

  Usage Committing(double seconds) const {
    Usage usage = estimate_.usage;
    usage.commit_seconds = seconds;
    for (auto& table : usage.tables_detail) table.commit_seconds = seconds;
    return usage;
  }

  Status Freshness() {
    const auto tables = TablesOf(estimate_.usage);
    const auto* writes = Line(estimate_, "Writes: files, commits, checkpoints");
    if (tables.empty() || writes == nullptr || !writes->price) return Status::OK();
    double now_s = 0;
    for (const auto& table : tables) now_s = std::max(now_s, table.commit_seconds);
    const double faster_s = now_s >= 20 ? 10 : now_s / 2;
    const double slower_s = std::min(now_s * 5, 86'400.0);
    ASSIGN_OR_RETURN(const auto now, With(Committing(now_s)));
    ASSIGN_OR_RETURN(const auto faster, With(Committing(faster_s)));
    ASSIGN_OR_RETURN(const auto slower, With(Committing(slower_s)));
    const double per_second = (RequestCost(faster) - RequestCost(now)).dollars() / (now_s - faster_s);
    const Money saved = RequestCost(now) - RequestCost(slower);
    Add("freshness", saved,
        fmt::format(
            "Each second of freshness in the lake costs {:.2g} a month; commits every {:.3g} s instead of {:.3g} s "
            "save {}.",
            per_second, slower_s, now_s, Usd(saved)),
        fmt::format("requests of commits: every {:.3g} s {}, every {:.3g} s {}, every {:.3g} s {}; ({} - {}) / ({:.3g} "
                    "s - {:g} "
                    "s). Answers over HTTP are fresh from memory at any interval",
                    faster_s, Usd(RequestCost(faster)), now_s, Usd(RequestCost(now)), slower_s,
                    Usd(RequestCost(slower)), Usd(RequestCost(faster)), Usd(RequestCost(now)), now_s, faster_s));
    return Status::OK();
  }

  Status StoredShare() {
    const auto* line = Line(estimate_, "Lake: Parquet files and Delta log");
    if (line == nullptr || !line->price) return Status::OK();
    constexpr double kBetter = 0.9;
    Usage smaller = estimate_.usage;
    smaller.parquet_ratio *= kBetter;
    smaller.aggregate_ratio *= kBetter;
    for (auto& table : smaller.tables_detail) {
      if (table.ratio) *table.ratio *= kBetter;
    }
    ASSIGN_OR_RETURN(const auto better, With(smaller));
    const auto* after = Line(better, "Lake: Parquet files and Delta log");
    const Money saved = after == nullptr ? line->money : line->money - after->money;
    Add("compression", saved,
        fmt::format("Files smaller by a tenth (a higher zstd level, sorting before writing) save {} a month.",
                    Usd(saved)),
        fmt::format("storage {} at {} {} becomes {}", Usd(line->money), ToPeople(line->resource.quantity),
                    FindSku(line->resource.sku)->unit, Usd(line->money - saved)));
    return Status::OK();
  }

  Status Files() {
    Usage merged = estimate_.usage;
    merged.files_per_commit = std::min(1.0, merged.files_per_commit);
    bool changes = merged.files_per_commit < estimate_.usage.files_per_commit && merged.tables_detail.empty();
    for (auto& table : merged.tables_detail) {
      if (table.files_per_commit.value_or(estimate_.usage.files_per_commit) <= 1) continue;
      changes = true;
      table.files_per_commit = 1;
    }
    const auto* writes = Line(estimate_, "Writes: files, commits, checkpoints");
    if (!changes || writes == nullptr || !writes->price) return Status::OK();
    ASSIGN_OR_RETURN(const auto fewer, With(merged));
    const Money saved = RequestCost(estimate_) - RequestCost(fewer);
    if (saved <= Money()) return Status::OK();
    Add("files", saved, fmt::format("One file a commit instead of several saves {} a month for requests.", Usd(saved)),
        fmt::format("writes {} become {}: fewer partitions or threads a commit, or a longer interval",
                    Usd(RequestCost(estimate_)), Usd(RequestCost(fewer))));
    return Status::OK();
  }

  Status Cdn() {
    if (estimate_.provider == Provider::kOwn || estimate_.usage.queries_per_second <= 0) return Status::OK();
    Usage other = estimate_.usage;
    other.cdn = !other.cdn;
    ASSIGN_OR_RETURN(const auto there, With(other));
    const auto cost = [&](const Estimate& estimate) {
      return Of(estimate, Category::kBandwidth) + Of(estimate, Category::kLoadBalancer);
    };
    for (const auto* estimate : {&estimate_, &there}) {
      if (!Complete(*estimate, Category::kBandwidth) || !Complete(*estimate, Category::kLoadBalancer)) {
        return Status::OK();
      }
    }
    const Money now = cost(estimate_);
    const Money then = cost(there);
    const std::string with = Usd(estimate_.usage.cdn ? now : then);
    const std::string without = Usd(estimate_.usage.cdn ? then : now);
    const bool cdn_is_cheaper = estimate_.usage.cdn == (now < then);
    Add("cdn", now - then,
        cdn_is_cheaper ? fmt::format("A CDN pays: {} a month with it, {} without.", with, without)
                       : fmt::format("A CDN does not pay: {} a month with it, {} without.", with, without),
        fmt::format("load balancer and bandwidth for {:g} queries/s of {:g} B, {:.0f} % answered by the CDN; most CDNs "
                    "charge each request too: batch, or let clients cache",
                    estimate_.usage.queries_per_second, estimate_.usage.bytes_per_response,
                    100 * estimate_.usage.cdn_hit));
    return Status::OK();
  }

  // Of two bills, what the lines cost that both have a price for.
  static std::pair<Money, Money> Common(const Estimate& one, const Estimate& other, int& left_out) {
    std::set<std::string> unpriced;
    for (const auto* estimate : {&one, &other}) {
      for (const auto& line : estimate->lines) {
        if (!line.price) unpriced.insert(line.resource.sku);
      }
    }
    left_out = static_cast<int>(unpriced.size());
    const auto sum = [&](const Estimate& estimate) {
      Money total;
      for (const auto& line : estimate.lines) {
        if (!unpriced.contains(line.resource.sku)) total += line.money;
      }
      return total;
    };
    return {sum(one), sum(other)};
  }

  // Near a place, or anywhere: an architect who names none may still not know what the region costs.
  Status Regions(const std::optional<Near>& near) {
    if (estimate_.provider == Provider::kOwn) return Status::OK();
    struct Candidate {
      Region region;
      double round_trip_ms;
      Money here;  // Of the current region, on the same lines.
      Money there;
      int left_out;
    };
    std::vector<Candidate> candidates;
    for (const auto& region : sheet_.regions()) {
      if (region.provider != estimate_.provider) continue;
      const double round_trip = near ? RoundTripMs(*near, region) : 0;
      if (near && round_trip > near->round_trip_ms) continue;
      ASSIGN_OR_RETURN(const auto there, WithRegion(estimate_.usage, region.name));
      Candidate candidate{.region = region, .round_trip_ms = round_trip, .here = {}, .there = {}, .left_out = 0};
      std::tie(candidate.here, candidate.there) = Common(estimate_, there, candidate.left_out);
      // Nothing of a region that can be compared is no answer; nor is one with gaps where nobody asked for it.
      if (candidate.there == Money() || (!near && candidate.left_out > 0)) continue;
      candidates.push_back(std::move(candidate));
    }
    const std::string id = near ? "region" : "region-anywhere";
    const std::string round_trip_rule =
        near ? "Round trip: great circle x 1.5 / 200 km/ms, both ways" : "--near PLACE keeps it close to somebody";
    const std::string within = near ? fmt::format(" within {:g} ms of {}", near->round_trip_ms, near->place) : "";
    if (candidates.empty()) {
      if (near) {
        Add(id, Money(), fmt::format("No priced region of {} is{}.", DisplayName(estimate_.provider), within),
            round_trip_rule);
      }
      return Status::OK();
    }
    std::stable_sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
      // Ranked by what each saves against here, since each is compared on lines of its own.
      return (a.here - a.there) > (b.here - b.there);
    });
    std::string list;
    constexpr std::size_t kListed = 8;
    for (std::size_t i = 0; i < std::min(candidates.size(), kListed); ++i) {
      const auto& candidate = candidates[i];
      list += fmt::format("{}{} ({}{}): {} against {} here{}", i == 0 ? "" : "; ", candidate.region.name,
                          candidate.region.place, near ? fmt::format(", {:.0f} ms", candidate.round_trip_ms) : "",
                          Usd(candidate.there), Usd(candidate.here),
                          candidate.left_out > 0 ? fmt::format(" without {} unpriced SKUs", candidate.left_out) : "");
    }
    if (candidates.size() > kListed) list += fmt::format("; and {} more", candidates.size() - kListed);
    const auto& best = candidates.front();
    const std::string of = near ? "" : fmt::format(" of {}", DisplayName(estimate_.provider));
    const std::string name = fmt::format("{} ({})", best.region.name, best.region.place);
    Add(id, best.here - best.there,
        best.region.name == estimate_.region.name
            ? fmt::format("{} is the cheapest region{}{}: {} a month.", name, of, within, Usd(best.there))
            : fmt::format("Cheapest region{}{}: {}, {} a month{} against {} in {}.", of, within, name, Usd(best.there),
                          best.left_out > 0 ? " on the lines that can be compared" : "", Usd(best.here),
                          estimate_.region.name),
        list + ". " + round_trip_rule);
    return Status::OK();
  }

  const Estimate& estimate_;
  const PriceSheet& sheet_;
  std::vector<Advice> advice_;
};

}  // namespace

Result<Near> ParseNear(const std::string& place, double round_trip_ms, const PriceSheet& sheet) {
  if (!(round_trip_ms > 0 && round_trip_ms <= 1000)) {
    return InvalidInput("{} ms is not a round trip on this earth", round_trip_ms);
  }
  Near near{.place = place, .latitude = 0, .longitude = 0, .round_trip_ms = round_trip_ms};
  if (const auto comma = place.find(','); comma != std::string::npos) {
    const auto number = [](const std::string& text, double limit, double& out) {
      char* end = nullptr;
      out = std::strtod(text.c_str(), &end);
      return !text.empty() && *end == '\0' && std::abs(out) <= limit;
    };
    if (number(place.substr(0, comma), 90, near.latitude) && number(place.substr(comma + 1), 180, near.longitude)) {
      return near;
    }
    return InvalidInput("'{}' is not latitude,longitude", place);
  }
  std::vector<std::string> names;
  for (const auto& region : sheet.regions()) {
    if (region.provider == Provider::kOwn) continue;
    if (EqualsIgnoringAsciiCase(place, region.name) || EqualsIgnoringAsciiCase(place, region.place)) {
      near.latitude = region.latitude;
      near.longitude = region.longitude;
      return near;
    }
    names.push_back(region.place);
    names.push_back(region.name);
  }
  return InvalidInput("no place '{}'{}; a region, its city or latitude,longitude is expected", place,
                      DidYouMean(place, names));
}

double RoundTripMs(const Near& from, const Region& to) {
  constexpr double kRadiansPerDegree = 0.017453292519943295;
  constexpr double kEarthRadiusKm = 6371;
  constexpr double kCableDetour = 1.5;
  constexpr double kFibreKmPerMs = 200;
  const double latitude = from.latitude * kRadiansPerDegree;
  const double other = to.latitude * kRadiansPerDegree;
  const double half_lat = std::sin((other - latitude) / 2);
  const double half_lon = std::sin((to.longitude - from.longitude) * kRadiansPerDegree / 2);
  const double h = half_lat * half_lat + std::cos(latitude) * std::cos(other) * half_lon * half_lon;
  const double km = 2 * kEarthRadiusKm * std::asin(std::sqrt(std::min(1.0, h)));
  return 2 * km * kCableDetour / kFibreKmPerMs;
}

Result<std::vector<Advice>> AdviceFor(const Estimate& estimate, const PriceSheet& sheet,
                                      const std::optional<Near>& near) {
  return Adviser(estimate, sheet).All(near);
}

}  // namespace millrace::cost
