// Goal: the bill is right and stays right. Method: the worked example of docs/cost.md to the cent, line by line, with
// the shipped prices; then properties over random loads: more load never costs less, a doubled load doubles the lines
// that follow it, a total is its lines; and every SKU in every region either has a price or is reported.
#include "cost/estimate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "cost/machines.h"
#include "testing/status_matchers.h"

namespace millrace::cost {
namespace {

const Day kEstimateDay = *ParseDay("2026-11-22");

PriceSheet Prices() { return PriceSheet::Shipped().ValueOrDie(); }

Estimate EstimateOf(const Usage& usage, Provider provider) {
  return MakeEstimate(usage, provider, std::string(DefaultRegion(provider)), Prices(), kEstimateDay).ValueOrDie();
}

Usage UsageFrom(const std::string& yaml) {
  Usage usage;
  const Status read = ReadUsage(yaml, "test", "given", usage);
  EXPECT_TRUE(read.ok()) << read;
  return usage;
}

TEST(Estimate, TheWorkedExampleToTheCent) {
  const auto estimate = EstimateOf(UsagePreset("reference").ValueOrDie(), Provider::kAws);
  std::map<std::string, std::pair<std::string, std::string>> lines;
  for (const auto& line : estimate.lines) {
    auto& [quantity, money] = lines[line.resource.sku + (lines.contains(line.resource.sku) ? "#2" : "")];
    quantity = ToDecimal(line.resource.quantity);
    money = ToCents(line.money);
  }
  using Line = std::pair<std::string, std::string>;
  EXPECT_EQ(lines["aws.compute.m6i.large"], Line("1460", "140.16"));
  EXPECT_EQ(lines["aws.compute.m6i.large#2"], Line("2190", "210.24"));
  EXPECT_EQ(lines["aws.disk.gp3"], Line("842.4", "67.39"));
  EXPECT_EQ(lines["aws.network.zone"], Line("21900", "438.00"));
  EXPECT_EQ(lines["aws.s3.standard.storage"], Line("1555.2", "35.77"));
  EXPECT_EQ(lines["aws.s3.standard.put"], Line("455520", "2.28"));
  EXPECT_EQ(lines["aws.s3.standard.get"], Line("2628000", "1.05"));
  EXPECT_EQ(lines["aws.alb.hour"], Line("730", "16.43"));
  EXPECT_EQ(lines["aws.alb.lcu"], Line("1314", "10.51"));
  EXPECT_EQ(lines["aws.egress.internet"], Line("1314", "109.26"));
  EXPECT_EQ(lines["aws.eks"], Line("730", "73.00"));
  EXPECT_EQ(lines.size(), 11u);
  EXPECT_TRUE(estimate.complete());
  EXPECT_EQ(ToCents(estimate.total), "1,104.09");
  // 1,104.09 USD over 26,280 million events, and over 13,140 GB of them.
  EXPECT_EQ(ToDecimal(*estimate.per_million_events), "0.042012458");
  EXPECT_EQ(ToDecimal(*estimate.per_gb), "0.084024916");
}

TEST(Estimate, WhatTheWorkedExampleSaysOfItsAlternatives) {
  Usage polling = UsagePreset("reference").ValueOrDie();
  polling.lists_per_second = 1;
  const auto base = EstimateOf(UsagePreset("reference").ValueOrDie(), Provider::kAws);
  EXPECT_EQ(ToCents(EstimateOf(polling, Provider::kAws).total - base.total), "13.14");

  Usage cdn = UsagePreset("reference").ValueOrDie();
  cdn.cdn = true;
  for (const auto& line : EstimateOf(cdn, Provider::kAws).lines) {
    if (line.resource.sku == "aws.cloudfront.https") {
      EXPECT_EQ(ToCents(line.money), "262.80");
    }
  }
}

TEST(Estimate, TheStarterIsThePictureOfTheReadme) {
  const auto estimate = EstimateOf(UsagePreset("starter").ValueOrDie(), Provider::kAws);
  EXPECT_TRUE(estimate.complete());
  const auto of = [&](Category category) { return estimate.by_category[static_cast<std::size_t>(category)].dollars(); };
  EXPECT_NEAR(of(Category::kCompute), 15, 1);
  EXPECT_NEAR(of(Category::kStorage), 25, 1);
  EXPECT_NEAR(of(Category::kLoadBalancer), 10, 1);
  EXPECT_NEAR(of(Category::kBandwidth), 5, 1);
  std::set<Category> categories;
  for (const auto& line : estimate.lines) categories.insert(line.resource.category);
  EXPECT_EQ(categories.size(), 4u);
  EXPECT_EQ(ToCents(estimate.total), "55.85");
}

// The regions that people ask for most: none may have a hole in what a load is made of unless they ask for a service
// that has no sourced price.
TEST(Estimate, NoPriceIsMissingInTheMainRegions) {
  const std::pair<Provider, std::vector<const char*>> regions[] = {
      {Provider::kAws, {"us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-southeast-1", "ap-northeast-1"}},
      {Provider::kGcp, {"us-central1", "us-east1", "europe-west1", "europe-west3", "asia-southeast1"}},
      {Provider::kAzure, {"eastus", "westus2", "westeurope", "northeurope", "southeastasia"}}};
  auto loads = std::vector{UsagePreset("starter").ValueOrDie(), UsagePreset("reference").ValueOrDie(), Usage()};
  loads.back().events_per_second = 100'000;
  loads.push_back(loads.back());
  loads.back().cdn = true;
  loads.back().nat_gateways = 1;
  loads.back().nat_gb = 100;
  const auto prices = Prices();
  for (const auto& [provider, names] : regions) {
    for (const char* region : names) {
      for (const auto& usage : loads) {
        MILLRACE_ASSERT_OK_AND_ASSIGN(const auto estimate, MakeEstimate(usage, provider, region, prices, kEstimateDay));
        EXPECT_THAT(estimate.Missing(), ::testing::IsEmpty()) << Describe(usage);
      }
    }
  }
}

Usage RandomUsage(std::mt19937_64& random) {
  const auto uniform = [&](double low, double high) {
    return std::exp(std::uniform_real_distribution<double>(std::log(low), std::log(high))(random));
  };
  const auto coin = [&] { return random() % 2 == 0; };
  Usage usage;
  usage.events_per_second = uniform(1, 500'000);
  usage.bytes_per_event = std::round(uniform(50, 5'000));
  usage.machine = MachineWords()[random() % MachineWords().size()];
  usage.broker_mode = static_cast<BrokerMode>(random() % 4);
  usage.log_service = static_cast<LogService>(random() % 6);
  usage.zones = 1 + static_cast<double>(random() % 3);
  usage.replication = 1 + static_cast<double>(random() % 3);
  usage.follower_fetch = coin();
  usage.commit_seconds = uniform(1, 600);
  usage.files_per_commit = 1 + static_cast<double>(random() % 4);
  usage.optimize = coin();
  usage.queries_per_second = uniform(0.1, 5'000);
  usage.bytes_per_response = uniform(100, 100'000);
  usage.cdn = coin();
  usage.sql_database = coin();
  usage.nat_gateways = static_cast<double>(random() % 3);
  usage.free_tier = coin();
  return usage;
}

TEST(EstimateProperties, MoreLoadNeverCostsLess) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 200; ++round) {
    const Usage usage = RandomUsage(random);
    for (const auto provider : kProviders) {
      // Event Hubs change their kind, and with it their price list, where a namespace is full.
      if (provider == Provider::kAzure && usage.broker_mode == BrokerMode::kManaged) continue;
      const auto before = EstimateOf(usage, provider);
      for (double Usage::*grown :
           {&Usage::events_per_second, &Usage::bytes_per_event, &Usage::queries_per_second, &Usage::bytes_per_response,
            &Usage::retention_days, &Usage::broker_retention_hours, &Usage::fan_out, &Usage::peak_factor}) {
        Usage more = usage;
        more.*grown *= std::uniform_real_distribution<double>(1, 3)(random);
        EXPECT_GE(EstimateOf(more, provider).total, before.total) << UsageToYaml(usage);
      }
    }
  }
}

TEST(Machines, AreCountedByWhatTheyHave) {
  struct Case {
    const char* name;
    Provider provider;
    const char* machine;
    double events_per_second;
    const char* sku;
    double nodes;
  };
  // 200,000 events/s a vCPU, a peak of three times the average, no queries, one machine at least.
  const Case cases[] = {
      {"the first of its kind", Provider::kAws, "general", 400'000, "aws.compute.m6i.large", 3},
      {"one by name", Provider::kAws, "m7g.large", 400'000, "aws.compute.m7g.large", 3},
      {"eight vCPU", Provider::kAws, "m7i.2xlarge", 400'000, "aws.compute.m7i.2xlarge", 1},
      {"another provider's stands for its kind", Provider::kGcp, "m7i.2xlarge", 400'000, "gcp.compute.n2-standard-8",
       1},
      {"a burstable one below its baseline of 0.4 vCPU", Provider::kAws, "small", 80'000, "aws.compute.t3.small", 1},
      {"the average above it counts", Provider::kAws, "small", 81'000, "aws.compute.t3.small", 2},
      {"each provider's baseline: 0.5 vCPU", Provider::kGcp, "small", 100'000, "gcp.compute.e2-small", 1},
      {"0.4 of each vCPU", Provider::kAzure, "B2s v2", 160'000, "azure.compute.b2s-v2", 2},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    Usage usage =
        UsageFrom(fmt::format("{{events_per_second: {}, serve: {{queries_per_second: 0}}, broker: {{mode: none}}, "
                              "compute: {{machine: '{}', nodes_min: 1}}}}",
                              c.events_per_second, c.machine));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto lines, ResourcesFor(usage, c.provider));
    EXPECT_EQ(lines[0].sku, c.sku);
    EXPECT_EQ(lines[0].quantity.value(), c.nodes * kHoursPerMonth);
  }
}

// 10,000 events/s x 500 B x 0.5 on the wire: 2.5 MB/s on average, 7.5 at the peak, 6,570 GB a month, 216 GB kept a day.
TEST(LogServices, AreSizedByTheLimitsOfEach) {
  struct Case {
    const char* name;
    Provider provider;
    const char* yaml;
    std::map<std::string, double> quantities;
  };
  const Case cases[] = {
      {"MSK Express by threes",
       Provider::kAws,
       "service: express",
       {{"aws.msk.express.m7g.large", 3 * 730}, {"aws.msk.express.storage", 216}, {"aws.msk.express.in", 6'570}}},
      {"its fourth broker makes six: 16 consumers read 120 MB/s of 31.2 each",
       Provider::kAws,
       "service: express, fan_out: 16",
       {{"aws.msk.express.m7g.large", 6 * 730}, {"aws.msk.express.storage", 216}, {"aws.msk.express.in", 6'570}}},
      {"MSK Serverless",
       Provider::kAws,
       "service: serverless, fan_out: 2",
       {{"aws.msk.serverless.cluster", 730},
        {"aws.msk.serverless.partition", 12 * 730},
        {"aws.msk.serverless.in", 6'570},
        {"aws.msk.serverless.out", 13'140},
        {"aws.msk.serverless.storage", 216}}},
      {"a partition gives 10 MB/s, a cluster 400: 60 consumers",
       Provider::kAws,
       "service: serverless, fan_out: 60",
       {{"aws.msk.serverless.cluster", 2 * 730},
        {"aws.msk.serverless.partition", 45 * 730},
        {"aws.msk.serverless.in", 6'570},
        {"aws.msk.serverless.out", 394'200},
        {"aws.msk.serverless.storage", 216}}},
      {"Event Hubs Premium: 7.5 MB/s need two units, which keep 2 TB",
       Provider::kAzure,
       "service: premium, retention: 240h",
       {{"azure.eventhubs.premium", 2 * 730}, {"azure.eventhubs.retention", 160}}},
      {"three units are sold as four",
       Provider::kAzure,
       "service: premium, fan_out: 3",
       {{"azure.eventhubs.premium", 4 * 730}}},
      {"more than sixteen are two namespaces",
       Provider::kAzure,
       "service: premium, fan_out: 22",
       {{"azure.eventhubs.premium", 32 * 730}}},
      {"Event Hubs Dedicated keeps 10 TB",
       Provider::kAzure,
       "service: dedicated, retention: 1200h",
       {{"azure.eventhubs.dedicated", 730}, {"azure.eventhubs.retention", 800}}},
      {"Confluent counts the average, and each copy",
       Provider::kGcp,
       "service: confluent",
       {{"confluent.basic.ecku", 730},
        {"confluent.basic.in", 6'570},
        {"confluent.basic.out", 6'570},
        {"confluent.basic.storage", 648}}},
      {"a service that a provider does not have is its standard one",
       Provider::kGcp,
       "service: premium",
       {{"gcp.kafka.dcu", 3 * 730}, {"gcp.kafka.storage", 842.4}}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    MILLRACE_ASSERT_OK_AND_ASSIGN(
        const auto lines, ResourcesFor(UsageFrom(fmt::format("broker: {{mode: managed, {}}}", c.yaml)), c.provider));
    std::map<std::string, double> quantities;
    for (const auto& line : lines) {
      if (line.category == Category::kEventLog) quantities[line.sku] = line.quantity.value();
    }
    EXPECT_EQ(quantities, c.quantities);
  }
  // Every service of every provider has a name of its own, and each is asked for by its word.
  for (const auto provider : kProviders) {
    std::set<std::string_view> names;
    for (const auto service : LogServicesOf(provider)) EXPECT_TRUE(names.insert(NameOf(provider, service)).second);
    EXPECT_EQ(names.empty(), provider == Provider::kOwn);
  }
}

TEST(EstimateProperties, ATotalIsItsLinesAndALineItsTiers) {
  std::mt19937_64 random(2);
  for (int round = 0; round < 200; ++round) {
    const auto estimate = EstimateOf(RandomUsage(random), kProviders[round % 4]);
    Money total;
    Money categories;
    for (const auto& line : estimate.lines) {
      Money money;
      Quantity quantity;
      for (const auto& charge : line.charges) {
        money += charge.money;
        quantity = quantity + charge.quantity;
      }
      EXPECT_EQ(line.money, money);
      if (line.price) {
        EXPECT_EQ(line.resource.quantity, quantity);
      }
      total += money;
    }
    for (const Money money : estimate.by_category) categories += money;
    EXPECT_EQ(estimate.total, total);
    EXPECT_EQ(estimate.total, categories);
  }
}

TEST(EstimateProperties, ADoubledLoadDoublesTheLinesThatFollowIt) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 200; ++round) {
    Usage usage = RandomUsage(random);
    usage.events_per_second = std::round(usage.events_per_second);
    Usage doubled = usage;
    doubled.events_per_second *= 2;
    doubled.queries_per_second *= 2;
    const auto provider = kProviders[round % 4];
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto once, ResourcesFor(usage, provider));
    MILLRACE_ASSERT_OK_AND_ASSIGN(const auto twice, ResourcesFor(doubled, provider));
    std::map<std::string, Quantity> before;
    for (const auto& line : once) {
      if (line.scales) before[line.name] = line.quantity;
    }
    int compared = 0;
    for (const auto& line : twice) {
      if (!line.scales || !before.contains(line.name)) continue;
      // Each side is rounded to a millionth.
      EXPECT_LE(std::abs(line.quantity.micros() - 2 * before[line.name].micros()), 1) << line.name;
      ++compared;
    }
    EXPECT_GT(compared, 0);
  }
}

TEST(Estimate, EverySkuInEveryRegionHasAPriceOrIsReported) {
  const auto prices = Prices();
  // Between them these loads touch every line that the model has.
  std::vector<Usage> loads;
  const auto* const services = &*std::find_if(UsageFields().begin(), UsageFields().end(),
                                              [](const auto& field) { return field.name == "broker.service"; });
  for (const auto& machine : MachineWords()) {
    loads.push_back(UsageFrom(fmt::format("{{broker: {{mode: embedded}}, compute: {{machine: '{}'}}}}", machine)));
  }
  for (const double rate : {10'000., 3'000'000.}) {
    loads.push_back(
        UsageFrom(fmt::format("{{events_per_second: {}, broker: {{mode: self}}, serve: {{cdn: {}}}, nat: "
                              "{{gateways: 1, gb: 10}}, sql_db: true}}",
                              rate, rate > 1e6)));
    for (const auto& service : services->choices) {
      loads.push_back(UsageFrom(fmt::format(
          "{{events_per_second: {}, broker: {{mode: managed, service: {}, retention: 900h}}}}", rate, service)));
    }
  }
  std::set<std::string> asked;
  for (const auto& region : prices.regions()) {
    for (const auto& usage : loads) {
      MILLRACE_ASSERT_OK_AND_ASSIGN(const auto estimate,
                                    MakeEstimate(usage, region.provider, region.name, prices, kEstimateDay));
      const auto missing = estimate.Missing();
      for (const auto& line : estimate.lines) {
        asked.insert(line.resource.sku);
        const std::string place = line.resource.sku + " in " + region.name;
        const bool reported = std::find(missing.begin(), missing.end(), place) != missing.end();
        ASSERT_NE(line.price.has_value(), reported) << place;
        if (!line.price) {
          EXPECT_EQ(line.money, Money()) << place;
          EXPECT_TRUE(estimate.has_missing[static_cast<std::size_t>(line.resource.category)]);
        } else {
          // Never another region's.
          EXPECT_TRUE(line.price->region == region.name || line.price->region == "*") << place;
        }
      }
    }
  }
  for (const auto& sku : AllSkus()) EXPECT_TRUE(asked.contains(std::string(sku.id))) << sku.id << " is never asked for";
}

TEST(Estimate, AMissingPriceIsNotZeroAndNotAnotherRegions) {
  Usage usage;
  usage.broker_mode = BrokerMode::kManaged;
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto estimate,
                                MakeEstimate(usage, Provider::kGcp, "europe-west3", Prices(), kEstimateDay));
  EXPECT_FALSE(estimate.complete());
  EXPECT_THAT(estimate.Missing(),
              ::testing::ElementsAre("gcp.kafka.dcu in europe-west3", "gcp.kafka.storage in europe-west3"));
}

TEST(Estimate, UnknownRegionsAndImpossibleLoadsAreErrors) {
  const auto nowhere = MakeEstimate(Usage(), Provider::kAws, "us-east1", Prices(), kEstimateDay);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, nowhere.status());
  EXPECT_THAT(nowhere.status().message(), ::testing::HasSubstr("did you mean 'us-east-1'?"));

  Usage huge;
  huge.events_per_second = 1e9;
  huge.bytes_per_event = 1e8;
  const auto estimate = MakeEstimate(huge, Provider::kAws, "us-east-1", Prices(), kEstimateDay);
  MILLRACE_ASSERT_KIND(ErrorKind::kInvalidInput, estimate.status());
}

TEST(Estimate, SaysWhichPricesAreOldOrReplaced) {
  auto prices = Prices();
  MILLRACE_ASSERT_OK(prices.Set("aws.disk.gp3@us-east-1=0.07", kEstimateDay));
  MILLRACE_ASSERT_OK_AND_ASSIGN(const auto estimate,
                                MakeEstimate(Usage(), Provider::kAws, "us-east-1", prices, kEstimateDay));
  EXPECT_THAT(estimate.overridden, ::testing::ElementsAre("aws.disk.gp3@us-east-1"));
  EXPECT_GT(estimate.old_prices, 0);
  EXPECT_EQ(ToText(estimate.oldest_price), "2024-09-25");
  EXPECT_NE(estimate.sha256, Prices().sha256());
}

TEST(Estimate, NoEventsCostWhatStandsThere) {
  Usage idle;
  idle.events_per_second = 0;
  idle.queries_per_second = 0;
  const auto estimate = EstimateOf(idle, Provider::kAws);
  EXPECT_FALSE(estimate.per_million_events.has_value());
  EXPECT_GT(estimate.total, Money());
  for (const auto& line : estimate.lines) EXPECT_FALSE(line.resource.scales) << line.resource.name;
}

TEST(Requests, FollowTheCommitsAndTheSizeOfFiles) {
  Usage usage;
  usage.checks_per_commit = 1;
  struct Case {
    const char* name;
    double ratio;
    double files;
    double puts_per_commit;
  };
  // 10,000 events/s x 500 B x 60 s = 300 MB of payload a commit.
  const Case cases[] = {
      {"one small file: itself and the log entry", 0.001, 1, 2.02},
      {"just below a part", 8.0 * 1024 * 1024 / 300e6 - 1e-9, 1, 2.02},
      {"a whole part is an upload of one part, begun and ended", 8.0 * 1024 * 1024 / 300e6 + 1e-12, 1, 5.02},
      {"36 MB in parts of 8 MiB", 0.12, 1, 8.02},
      {"the same in four files of 9 MB", 0.12, 4, 17.02},
      {"no files, only a log entry", 0, 0, 1.02},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto requests = RequestsOf({.commit_seconds = 60, .ratio = c.ratio, .files_per_commit = c.files}, usage);
    EXPECT_NEAR(requests.puts / 43'800, c.puts_per_commit, 1e-9);
    EXPECT_NEAR(requests.gets, 43'800, 1e-6);
  }
}

}  // namespace
}  // namespace millrace::cost
