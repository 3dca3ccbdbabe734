#include "cost/resource_model.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "cost/machines.h"

namespace millrace::cost {
namespace {

constexpr double kGB = 1e9;
constexpr double kMiB = 1024.0 * 1024.0;
// S3's own clients cut uploads at 8 MiB by default.
constexpr double kPartBytes = 8 * kMiB;
// Rows of a month that `optimize` rewrites come out in files of this size.
constexpr double kOptimizedFileBytes = 128 * kMiB;
// "1 vCPU = 20 MiB/s in, 80 MiB/s out": cloud.google.com/managed-service-for-apache-kafka/docs (sizing).
constexpr double kBrokerInPerVcpu = 20 * kMiB;
constexpr double kBrokerOutPerVcpu = 80 * kMiB;
// A Standard throughput unit takes 1 MB/s or 1,000 events/s in and gives 2 MB/s; a namespace has 40 at most.
constexpr double kThroughputUnitsMax = 40;
// A Premium processing unit takes 5 to 10 MB/s and gives 10 to 20, and keeps 1 TB; it is sold in these numbers, for
// more there are more namespaces. A Dedicated unit keeps 10 TB. learn.microsoft.com/azure/event-hubs (FAQ, quotas).
constexpr double kProcessingUnitIn = 5e6;
constexpr double kProcessingUnitOut = 10e6;
constexpr double kProcessingUnits[] = {1, 2, 4, 8, 16};
constexpr double kProcessingUnitGb = 1'000;
constexpr double kDedicatedUnitIn = 100e6;
constexpr double kDedicatedUnitGb = 10'000;
// Of one express.m7g.large, sustained; they are bought by threes. docs.aws.amazon.com/msk (quotas), as all that
// follows.
constexpr double kExpressIn = 15.6e6;
constexpr double kExpressOut = 31.2e6;
constexpr double kExpressZones = 3;
// Of a cluster and of a partition of MSK Serverless.
constexpr double kServerlessIn = 200e6;
constexpr double kServerlessOut = 400e6;
constexpr double kServerlessPartitionIn = 5e6;
constexpr double kServerlessPartitionOut = 10e6;
// Of an eCKU of Confluent's Basic clusters, which keep three copies: docs.confluent.io/cloud (cluster types, billing).
constexpr double kEckuIn = 5e6;
constexpr double kEckuOut = 15e6;
constexpr double kConfluentCopies = 3;
// How long an idle client keeps its connection; sizes the load balancer's count of active ones.
constexpr double kKeepAliveSeconds = 60;
// Google's NAT is charged for each machine behind it, up to as many: cloud.google.com/nat/pricing.
constexpr double kNatMachinesMax = 32;
// What somebody who runs machines of their own keeps of each byte: two disks.
constexpr double kOwnCopies = 2;

// The SKUs of one provider by role; empty: the provider does not charge for it.
struct SkuSet {
  const char* disk;
  const char* storage;
  const char* put;
  const char* get;
  const char* balancer_hour;
  const char* balancer_load;
  const char* egress;
  const char* cdn_out;
  const char* cdn_request;
  const char* cdn_fill;
  const char* cdn_base;
  const char* zone;
  const char* kubernetes;
  const char* nat_hour;
  const char* nat_data;
  const char* sql_hour;
  const char* sql_storage;
};

const SkuSet& SkusOf(Provider provider) {
  static constexpr SkuSet kSets[] = {
      {"aws.disk.gp3", "aws.s3.standard.storage", "aws.s3.standard.put", "aws.s3.standard.get", "aws.alb.hour",
       "aws.alb.lcu", "aws.egress.internet", "aws.cloudfront.out", "aws.cloudfront.https", "", "", "aws.network.zone",
       "aws.eks", "aws.nat.hour", "aws.nat.data", "aws.rds.postgres.t3.large", "aws.rds.storage"},
      {"gcp.disk.pd-ssd", "gcp.gcs.standard.storage", "gcp.gcs.standard.class-a", "gcp.gcs.standard.class-b",
       "gcp.lb.rule", "gcp.lb.data", "gcp.egress.internet", "gcp.cdn.out", "gcp.cdn.lookup", "gcp.cdn.fill", "",
       "gcp.network.zone", "gcp.gke", "gcp.nat.hour", "gcp.nat.data", "gcp.sql.postgres.2vcpu", "gcp.sql.storage"},
      {"azure.disk.standard-ssd", "azure.blob.hot-lrs.storage", "azure.blob.hot-lrs.write", "azure.blob.hot-lrs.read",
       "azure.lb.hour", "azure.lb.data", "azure.egress.internet", "azure.frontdoor.out", "azure.frontdoor.requests", "",
       "azure.frontdoor.base", "azure.network.zone", "azure.aks", "azure.nat.hour", "azure.nat.data",
       "azure.postgres.d4s-v3", "azure.postgres.storage"},
      {"own.disk", "own.disk", "", "", "own.core", "own.memory", "own.bandwidth", "", "", "", "", "", "", "", "", "",
       ""},
  };
  return kSets[static_cast<std::size_t>(provider)];
}

std::string Number(double value) {
  if (!(value < 9e12)) return fmt::format("{:.3g}", value);
  return ToPeople(Quantity::FromMicros(std::llround(value * 1e6)));
}

double PartsOf(double file_bytes) { return file_bytes < kPartBytes ? 1 : std::ceil(file_bytes / kPartBytes) + 2; }

class Model {
 public:
  Model(const Usage& usage, Provider provider)
      : usage_(usage), provider_(provider), skus_(SkusOf(provider)), own_(provider == Provider::kOwn) {}

  Result<std::vector<ResourceLine>> Build() {
    Compute();
    EventLog();
    Lake();
    Serving();
    Surroundings();
    RETURN_NOT_OK(failure_);
    std::stable_sort(lines_.begin(), lines_.end(),
                     [](const auto& a, const auto& b) { return a.category < b.category; });
    return std::move(lines_);
  }

 private:
  void Add(Category category, std::string name, std::string_view sku, double quantity, std::string rule,
           bool scales = false) {
    if (sku.empty() || !failure_.ok()) return;
    const auto counted = Quantity::FromDouble(quantity);
    if (!counted.ok()) {
      failure_ = WithContext(counted.status(), "{}", name);
    } else if (*counted > Quantity()) {
      lines_.push_back({category, std::move(name), std::string(sku), *counted, std::move(rule), scales});
    }
  }

  void AddNodes(Category category, const std::string& role, double nodes, const MachineType& type,
                const std::string& why) {
    machines_ += nodes;
    if (own_) {
      Add(category, fmt::format("{}: {} x {}", role, Number(nodes), type.name), type.sku, nodes * type.vcpus, why);
      Add(category, fmt::format("{}: memory", role), "own.memory", nodes * type.memory_gib,
          fmt::format("{} nodes x {} GiB", Number(nodes), type.memory_gib));
      return;
    }
    Add(category, fmt::format("{}: {} x {}", role, Number(nodes), type.name), type.sku, nodes * kHoursPerMonth,
        fmt::format("{}; {} x 730 h", why, Number(nodes)));
  }

  void AddDisk(Category category, const std::string& name, double gb, const std::string& rule) {
    Add(category, name, skus_.disk, own_ ? gb / 1000 : gb, own_ ? rule + " / 1000 GB" : rule, true);
  }

  // Rule: docs/cost.md; max(2, ceil((events x peak / events per vCPU + queries x peak / queries per vCPU) / vCPUs)).
  // The average must fit into what a burstable machine may use without end.
  void Compute() {
    const auto& type = MachineFor(provider_, usage_.machine);
    const double average =
        usage_.events_per_second / usage_.events_per_vcpu + usage_.queries_per_second / usage_.queries_per_vcpu;
    const double peak = average * usage_.peak_factor;
    const double nodes =
        std::max({usage_.nodes_min, std::ceil(peak / type.vcpus), std::ceil(average / (type.vcpus * type.baseline))});
    std::string rule =
        fmt::format("peak needs {} vCPU = {} events/s / {} + {} queries/s / {}; at least {} nodes", Number(peak),
                    Number(usage_.events_per_second * usage_.peak_factor), Number(usage_.events_per_vcpu),
                    Number(usage_.queries_per_second * usage_.peak_factor), Number(usage_.queries_per_vcpu),
                    Number(usage_.nodes_min));
    if (type.baseline < 1) {
      rule += fmt::format("; the average needs {} and a burstable one sustains {:g}", Number(average),
                          type.vcpus * type.baseline);
    }
    AddNodes(Category::kCompute, kWorkers, nodes, type, rule);
    if (usage_.broker_mode == BrokerMode::kEmbedded) {
      AddDisk(Category::kCompute, "Disk of the embedded log", LogGb(1), LogRule(1));
    }
  }

  double WireBytesPerSecond() const {
    return usage_.events_per_second * usage_.bytes_per_event * usage_.wire_compression;
  }
  double LogGb(double copies) const {
    return WireBytesPerSecond() * usage_.broker_retention_hours * 3600 * copies * usage_.broker_headroom / kGB;
  }
  std::string LogRule(double copies) const {
    return fmt::format("{} events/s x {} B x {} x {} h x {} copies x {} headroom", Number(usage_.events_per_second),
                       Number(usage_.bytes_per_event), usage_.wire_compression, Number(usage_.broker_retention_hours),
                       Number(copies), usage_.broker_headroom);
  }

  void EventLog() {
    if (usage_.broker_mode == BrokerMode::kEmbedded || usage_.broker_mode == BrokerMode::kNone) return;
    // A provider's service runs in the provider's rooms: on machines of one's own the brokers are one's own too.
    const bool managed = usage_.broker_mode == BrokerMode::kManaged && !own_;
    const double in = WireBytesPerSecond() * usage_.peak_factor;
    const double vcpus = std::max(in / kBrokerInPerVcpu, in * usage_.fan_out / kBrokerOutPerVcpu);
    if (managed) {
      ManagedLog(in, vcpus);
    } else {
      const auto& type = MachineFor(provider_, "general");
      AddNodes(Category::kEventLog, "Brokers", std::max(usage_.broker_nodes_min, std::ceil(vcpus / type.vcpus)), type,
               BrokersRule(in, vcpus));
      AddDisk(Category::kEventLog, "Broker disk", LogGb(usage_.replication), LogRule(usage_.replication));
    }
    ZoneTraffic(managed);
  }

  std::string BrokersRule(double in, double vcpus) const {
    return fmt::format("peak {} MB/s in needs {} vCPU; at least {} brokers", Number(in / 1e6), Number(vcpus),
                       Number(usage_.broker_nodes_min));
  }

  // `in` and `vcpus` are those of the peak.
  void ManagedLog(double in, double vcpus) {
    const auto services = LogServicesOf(provider_);
    const bool is_sold = std::find(services.begin(), services.end(), usage_.log_service) != services.end();
    switch (is_sold ? usage_.log_service : LogService::kStandard) {
      case LogService::kStandard:
        if (provider_ == Provider::kAws) return MskBrokers(in, vcpus);
        if (provider_ == Provider::kGcp) return ManagedKafka(in, vcpus);
        return EventHubs(in);
      case LogService::kExpress:
        return MskExpress(in);
      case LogService::kServerless:
        return MskServerless(in);
      case LogService::kPremium:
        return EventHubsPremium(in);
      case LogService::kDedicated:
        return EventHubsDedicated(in, fmt::format("peak of {} MB/s in", Number(in / 1e6)));
      case LogService::kConfluent:
        return Confluent();
    }
  }

  // Of one copy, without the disk that nobody has to buy ahead.
  double RetainedGb() const { return WireBytesPerSecond() * usage_.broker_retention_hours * 3600 / kGB; }
  std::string RetainedRule() const {
    return fmt::format("{} events/s x {} B x {} x {} h", Number(usage_.events_per_second),
                       Number(usage_.bytes_per_event), usage_.wire_compression, Number(usage_.broker_retention_hours));
  }
  double WireGb() const { return WireBytesPerSecond() * kSecondsPerMonth / kGB; }
  std::string WireRule() const {
    return fmt::format("{} events/s x {} B x {} x 2,628,000 s", Number(usage_.events_per_second),
                       Number(usage_.bytes_per_event), usage_.wire_compression);
  }
  void AddLogTraffic(std::string_view in_sku, std::string_view out_sku) {
    Add(Category::kEventLog, "Log: data in", in_sku, WireGb(), WireRule(), true);
    Add(Category::kEventLog, "Log: data out", out_sku, WireGb() * usage_.fan_out,
        WireRule() + fmt::format(" x {} consumers", Number(usage_.fan_out)), true);
  }

  void MskBrokers(double in, double vcpus) {
    constexpr double kVcpus = 2;
    const double nodes = std::max(usage_.broker_nodes_min, std::ceil(vcpus / kVcpus));
    Add(Category::kEventLog, fmt::format("Managed brokers: {} x kafka.m5.large", Number(nodes)), "aws.msk.m5.large",
        nodes * kHoursPerMonth, BrokersRule(in, vcpus));
    Add(Category::kEventLog, "Managed broker storage", "aws.msk.storage", LogGb(usage_.replication),
        LogRule(usage_.replication), true);
  }

  void ManagedKafka(double in, double vcpus) {
    const double units = std::max(usage_.broker_nodes_min, std::ceil(vcpus));
    Add(Category::kEventLog, fmt::format("Managed Kafka: {} vCPU", Number(units)), "gcp.kafka.dcu",
        units * kHoursPerMonth, BrokersRule(in, vcpus));
    Add(Category::kEventLog, "Managed Kafka storage", "gcp.kafka.storage", LogGb(usage_.replication),
        LogRule(usage_.replication), true);
  }

  void MskExpress(double in) {
    const double needed = std::max(in / kExpressIn, in * usage_.fan_out / kExpressOut);
    const double nodes = kExpressZones * std::max(1.0, std::ceil(needed / kExpressZones));
    Add(Category::kEventLog, fmt::format("Express brokers: {} x express.m7g.large", Number(nodes)),
        "aws.msk.express.m7g.large", nodes * kHoursPerMonth,
        fmt::format("peak of {} MB/s in and {} out; one takes 15.6 MB/s and gives 31.2; by threes", Number(in / 1e6),
                    Number(in * usage_.fan_out / 1e6)));
    Add(Category::kEventLog, "Log: storage", "aws.msk.express.storage", RetainedGb(), RetainedRule(), true);
    AddLogTraffic("aws.msk.express.in", "");
  }

  void MskServerless(double in) {
    const double out = in * usage_.fan_out;
    const double clusters = std::max({1.0, std::ceil(in / kServerlessIn), std::ceil(out / kServerlessOut)});
    const double partitions =
        std::max({usage_.partitions, std::ceil(in / kServerlessPartitionIn), std::ceil(out / kServerlessPartitionOut)});
    Add(Category::kEventLog, fmt::format("MSK Serverless: {} clusters", Number(clusters)), "aws.msk.serverless.cluster",
        clusters * kHoursPerMonth,
        fmt::format("peak of {} MB/s in and {} out; a cluster takes 200 MB/s and gives 400", Number(in / 1e6),
                    Number(out / 1e6)));
    Add(Category::kEventLog, fmt::format("MSK Serverless: {} partitions", Number(partitions)),
        "aws.msk.serverless.partition", partitions * kHoursPerMonth,
        fmt::format("at least {}; a partition takes 5 MB/s and gives 10", Number(usage_.partitions)));
    AddLogTraffic("aws.msk.serverless.in", "aws.msk.serverless.out");
    Add(Category::kEventLog, "Log: storage", "aws.msk.serverless.storage", RetainedGb(), RetainedRule(), true);
  }

  // Its units follow the load by the hour, so they are counted by the average.
  void Confluent() {
    const double in = WireBytesPerSecond();
    const double units = std::max({1.0, std::ceil(in / kEckuIn), std::ceil(in * usage_.fan_out / kEckuOut)});
    Add(Category::kEventLog, fmt::format("Confluent Cloud Basic: {} eCKU", Number(units)), "confluent.basic.ecku",
        units * kHoursPerMonth,
        fmt::format("average of {} MB/s in and {} out; a unit takes 5 MB/s and gives 15", Number(in / 1e6),
                    Number(in * usage_.fan_out / 1e6)));
    AddLogTraffic("confluent.basic.in", "confluent.basic.out");
    Add(Category::kEventLog, "Log: storage", "confluent.basic.storage", RetainedGb() * kConfluentCopies,
        RetainedRule() + " x 3 copies", true);
  }

  void EventHubs(double in) {
    const double units = std::max({1.0, std::ceil(in / 1e6), std::ceil(in * usage_.fan_out / 2e6),
                                   std::ceil(usage_.events_per_second * usage_.peak_factor / 1000)});
    const std::string why =
        fmt::format("peak of {} MB/s and {} events/s; a unit takes 1 MB/s or 1,000 events/s in, gives 2 MB/s",
                    Number(in / 1e6), Number(usage_.events_per_second * usage_.peak_factor));
    if (units > kThroughputUnitsMax) return EventHubsDedicated(in, why + "; above 40 units");
    Add(Category::kEventLog, fmt::format("Event Hubs: {} throughput units", Number(units)), "azure.eventhubs.tu",
        units * kHoursPerMonth, why);
    Add(Category::kEventLog, "Event Hubs ingress", "azure.eventhubs.events",
        usage_.events_per_second * kSecondsPerMonth,
        fmt::format("{} events/s x 2,628,000 s", Number(usage_.events_per_second)), true);
  }

  void EventHubsPremium(double in) {
    const double needed = std::max(in / kProcessingUnitIn, in * usage_.fan_out / kProcessingUnitOut);
    constexpr double kLargest = kProcessingUnits[std::size(kProcessingUnits) - 1];
    double units = kLargest * std::ceil(needed / kLargest);
    for (const double sold : kProcessingUnits) {
      if (needed <= sold) units = std::min(units, sold);
    }
    units = std::max(units, kProcessingUnits[0]);
    Add(Category::kEventLog, fmt::format("Event Hubs Premium: {} processing units", Number(units)),
        "azure.eventhubs.premium", units * kHoursPerMonth,
        fmt::format("peak of {} MB/s in and {} out; a unit takes 5 MB/s and gives 10; sold as 1, 2, 4, 8, 16",
                    Number(in / 1e6), Number(in * usage_.fan_out / 1e6)));
    AddRetention(units * kProcessingUnitGb);
  }

  // The size of a dedicated unit depends on the workload; the smallest is priced and the rule says so.
  void EventHubsDedicated(double in, const std::string& why) {
    const double units = std::max(1.0, std::ceil(in / kDedicatedUnitIn));
    Add(Category::kEventLog, fmt::format("Event Hubs Dedicated: {} units", Number(units)), "azure.eventhubs.dedicated",
        units * kHoursPerMonth, why + "; dedicated: about 100 MB/s each");
    AddRetention(units * kDedicatedUnitGb);
  }

  void AddRetention(double included_gb) {
    Add(Category::kEventLog, "Log: storage", "azure.eventhubs.retention", std::max(0.0, RetainedGb() - included_gb),
        RetainedRule() + fmt::format(" - {} GB included", Number(included_gb)));
  }

  // Rule: redpanda.com/blog/calculate-cloud-data-transfer-costs. A producer or consumer meets a leader in another zone
  // (zones-1)/zones of the time; each follower in another zone gets every byte once. A managed service does not charge
  // for its own replication.
  void ZoneTraffic(bool managed) {
    if (usage_.zones < 2) return;
    const double away = (usage_.zones - 1) / usage_.zones;
    const double consume = usage_.follower_fetch ? 0 : away * usage_.fan_out;
    const double replicate = managed ? 0 : usage_.replication - std::ceil(usage_.replication / usage_.zones);
    const double wire_gb = WireGb();
    Add(Category::kZoneTraffic, "Producers, consumers and replicas", skus_.zone, wire_gb * (away + consume + replicate),
        fmt::format("{} GB on the wire x ({:.3g} produce + {:.3g} consume + {:.3g} replicate)", Number(wire_gb), away,
                    consume, replicate),
        true);
  }

  void Lake() {
    double gb = 0;
    double puts = usage_.lists_per_second * kSecondsPerMonth;
    double checks = 0;
    double rewritten_puts = 0;
    double rewritten_gets = 0;
    std::string shares;  // "0.12 stored x 30 d + 0.01 stored x 400 d"
    for (const auto& table : TablesOf(usage_)) {
      const double bytes_per_day = usage_.events_per_second * usage_.bytes_per_event * table.ratio * 86'400;
      double days = table.retention_days;
      if (usage_.optimize) days += std::min(usage_.vacuum_days, table.retention_days);
      gb += bytes_per_day * days / kGB;
      constexpr std::size_t kSharesBytesMax = 120;
      if (table.ratio > 0 && shares.size() < kSharesBytesMax) {
        shares += fmt::format("{}{:.3g} stored x {:g} d", shares.empty() ? "" : " + ", table.ratio, days);
      }
      const auto requests = RequestsOf(table, usage_);
      puts += requests.puts;
      checks += requests.gets;
      if (usage_.optimize && requests.bytes_per_commit > 0) {
        const double bytes = bytes_per_day / 86'400 * kSecondsPerMonth;
        rewritten_puts += bytes / kOptimizedFileBytes * PartsOf(kOptimizedFileBytes) + kHoursPerMonth;
        rewritten_gets += bytes / requests.bytes_per_commit * table.files_per_commit;
      }
    }
    const std::string kept = fmt::format("{} events/s x {} B x 86,400 s x ({})", Number(usage_.events_per_second),
                                         Number(usage_.bytes_per_event), shares);
    const std::string extra = usage_.optimize ? "; rewritten files stay until vacuum" : "";
    if (own_) {
      Add(Category::kStorage, "Lake: Parquet files and Delta log", "own.disk", gb / 1000 * kOwnCopies,
          kept + extra + "; two copies", true);
      return;
    }
    Add(Category::kStorage, "Lake: Parquet files and Delta log", skus_.storage, gb, kept + extra, true);
    Add(Category::kStorage, "Writes: files, commits, checkpoints", skus_.put, puts + rewritten_puts,
        "per commit: parts of its files + 1 log entry + 2 per checkpoint" +
            std::string(usage_.optimize ? "; + rewriting" : ""));
    Add(Category::kStorage, "Reads: query nodes look for new versions", skus_.get,
        usage_.reads_per_second * kSecondsPerMonth,
        fmt::format("{} requests/s x 2,628,000 s", Number(usage_.reads_per_second)));
    Add(Category::kStorage, "Reads: writers check their version", skus_.get, checks + rewritten_gets,
        fmt::format("{} per commit", Number(usage_.checks_per_commit)) +
            std::string(usage_.optimize ? "; + rewriting" : ""));
  }

  // LCU: the largest of new connections/25 per s, active connections/3000, GB per h (handbook.vantage.sh, "ELB
  // pricing"); rule evaluations are left out, ten are free.
  void Serving() {
    const double responses = usage_.queries_per_second * kSecondsPerMonth;
    const double gb = responses * usage_.bytes_per_response / kGB;
    const bool cdn = usage_.cdn && !own_;
    const double through = cdn ? 1 - usage_.cdn_hit : 1;
    if (usage_.load_balancer) Balancer(gb * through, through);
    const std::string answers = fmt::format("{} queries/s x 2,628,000 s x {} B", Number(usage_.queries_per_second),
                                            Number(usage_.bytes_per_response));
    if (!cdn) {
      Add(Category::kBandwidth, "Answers to the internet", skus_.egress, gb, answers, true);
      return;
    }
    Add(Category::kBandwidth, "CDN base fee", skus_.cdn_base, 1, "a month");
    Add(Category::kBandwidth, "CDN to viewers", skus_.cdn_out, gb, answers, true);
    Add(Category::kBandwidth, "CDN requests", skus_.cdn_request, responses,
        fmt::format("{} queries/s x 2,628,000 s", Number(usage_.queries_per_second)), true);
    Add(Category::kBandwidth, "CDN fill on a miss", skus_.cdn_fill, gb * through,
        fmt::format("{} x {:.3g} missed", answers, through), true);
  }

  void Balancer(double gb, double through) {
    const std::string shared =
        usage_.load_balancer_share < 1 ? fmt::format(" x {} of it", usage_.load_balancer_share) : "";
    if (own_) {
      Add(Category::kLoadBalancer, "Load balancer: one core", "own.core", usage_.load_balancer_share,
          "1 core" + shared);
      Add(Category::kLoadBalancer, "Load balancer: memory", "own.memory", 2 * usage_.load_balancer_share,
          "2 GiB" + shared);
      return;
    }
    Add(Category::kLoadBalancer, "Load balancer", skus_.balancer_hour, kHoursPerMonth * usage_.load_balancer_share,
        "730 h" + shared);
    if (provider_ != Provider::kAws) {
      Add(Category::kLoadBalancer, "Load balancer data", skus_.balancer_load, gb, "answers through it", true);
      return;
    }
    const double connections = usage_.queries_per_second * through / usage_.requests_per_connection;
    const double gb_per_hour = gb / kHoursPerMonth;
    const double units = std::max({connections / 25, connections * kKeepAliveSeconds / 3000, gb_per_hour});
    Add(Category::kLoadBalancer, "Load balancer capacity", skus_.balancer_load, units * kHoursPerMonth,
        fmt::format("largest of {} new connections/s / 25, {} active / 3,000, {} GB/h; x 730 h", Number(connections),
                    Number(connections * kKeepAliveSeconds), Number(gb_per_hour)),
        true);
  }

  void Surroundings() {
    if (usage_.kubernetes) Add(Category::kKubernetes, "Cluster", skus_.kubernetes, kHoursPerMonth, "730 h");
    const double behind = provider_ == Provider::kGcp ? std::min(machines_, kNatMachinesMax) : 1;
    Add(Category::kKubernetes, "NAT gateways", skus_.nat_hour, usage_.nat_gateways * behind * kHoursPerMonth,
        fmt::format("{} x 730 h{}; none is needed where the lake has a gateway endpoint", Number(usage_.nat_gateways),
                    provider_ == Provider::kGcp ? fmt::format(" x {} machines behind it", Number(behind)) : ""));
    Add(Category::kKubernetes, "NAT data", skus_.nat_data, usage_.nat_gb, "as given");
    if (!usage_.sql_database) return;
    Add(Category::kSqlDatabase, "Managed Postgres", skus_.sql_hour, kHoursPerMonth, "730 h, one zone");
    Add(Category::kSqlDatabase, "Managed Postgres storage", skus_.sql_storage, usage_.sql_gb, "as given");
  }

  const Usage& usage_;
  const Provider provider_;
  const SkuSet& skus_;
  const bool own_;
  double machines_ = 0;  // Of the bill so far.
  std::vector<ResourceLine> lines_;
  Status failure_ = Status::OK();
};

}  // namespace

std::string_view ToString(Category category) {
  constexpr std::string_view kNames[kNumCategories] = {"Compute",
                                                       "Event log",
                                                       "Database storage",
                                                       "Load balancer",
                                                       "CDN and bandwidth",
                                                       "Traffic between zones",
                                                       "Kubernetes and NAT",
                                                       "SQL database"};
  return kNames[static_cast<int>(category)];
}

std::vector<LogService> LogServicesOf(Provider provider) {
  switch (provider) {
    case Provider::kAws:
      return {LogService::kStandard, LogService::kExpress, LogService::kServerless, LogService::kConfluent};
    case Provider::kGcp:
      return {LogService::kStandard, LogService::kConfluent};
    case Provider::kAzure:
      return {LogService::kStandard, LogService::kPremium, LogService::kDedicated, LogService::kConfluent};
    case Provider::kOwn:
      break;
  }
  return {};
}

std::string_view NameOf(Provider provider, LogService service) {
  switch (service) {
    case LogService::kExpress:
      return "MSK Express";
    case LogService::kServerless:
      return "MSK Serverless";
    case LogService::kPremium:
      return "Event Hubs Premium";
    case LogService::kDedicated:
      return "Event Hubs Dedicated";
    case LogService::kConfluent:
      return "Confluent Cloud Basic";
    case LogService::kStandard:
      break;
  }
  return provider == Provider::kAws ? "MSK" : provider == Provider::kGcp ? "Managed Kafka" : "Event Hubs";
}

std::vector<TableLoad> TablesOf(const Usage& usage) {
  const auto load = [&](const TableUsage& table) {
    return TableLoad{.commit_seconds = table.commit_seconds.value_or(usage.commit_seconds),
                     .ratio = table.ratio.value_or(table.aggregate ? usage.aggregate_ratio : usage.parquet_ratio),
                     .files_per_commit = table.files_per_commit.value_or(usage.files_per_commit),
                     .checkpoint_interval = table.checkpoint_interval.value_or(usage.checkpoint_interval),
                     .retention_days = table.retention_days.value_or(usage.retention_days)};
  };
  std::vector<TableLoad> tables;
  for (const auto& table : usage.tables_detail) tables.push_back(load(table));
  if (!tables.empty()) return tables;
  tables.insert(tables.end(), static_cast<std::size_t>(usage.tables), load({}));
  tables.insert(tables.end(), static_cast<std::size_t>(usage.aggregates), load({.name = "", .aggregate = true}));
  return tables;
}

TableRequests RequestsOf(const TableLoad& table, const Usage& usage) {
  // With less than one event between two cuts there is less than one commit.
  const double commits = std::min(kSecondsPerMonth / table.commit_seconds, usage.events_per_second * kSecondsPerMonth);
  if (commits <= 0) return {};
  TableRequests requests;
  requests.bytes_per_commit =
      usage.events_per_second * usage.bytes_per_event * table.ratio * kSecondsPerMonth / commits;
  const double file_bytes = table.files_per_commit > 0 ? requests.bytes_per_commit / table.files_per_commit : 0;
  requests.puts = commits * (table.files_per_commit * PartsOf(file_bytes) + 1 + 2 / table.checkpoint_interval);
  requests.gets = commits * usage.checks_per_commit;
  return requests;
}

Result<std::vector<ResourceLine>> ResourcesFor(const Usage& usage, Provider provider) {
  return Model(usage, provider).Build();
}

}  // namespace millrace::cost
