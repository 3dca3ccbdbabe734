#include <algorithm>

#include "base/nearest_name.h"
#include "cost/price_sheet.h"

namespace millrace::cost {

std::string_view ToString(Provider provider) {
  constexpr std::string_view kNames[] = {"aws", "gcp", "azure", "own"};
  return kNames[static_cast<int>(provider)];
}

std::string_view DisplayName(Provider provider) {
  constexpr std::string_view kNames[] = {"AWS", "Google Cloud", "Azure", "Own machines"};
  return kNames[static_cast<int>(provider)];
}

std::string_view DefaultRegion(Provider provider) {
  constexpr std::string_view kNames[] = {"us-east-1", "us-central1", "eastus", "own"};
  return kNames[static_cast<int>(provider)];
}

Result<Provider> ParseProvider(const std::string& name) {
  std::vector<std::string> names;
  for (const auto provider : kProviders) {
    if (name == ToString(provider)) return provider;
    names.emplace_back(ToString(provider));
  }
  return InvalidInput("no provider '{}'; there are: {}{}", name, fmt::join(names, ", "), DidYouMean(name, names));
}

bool Sku::IsSoldBy(Provider provider) const {
  const auto names = [&](Provider other) {
    return id.starts_with(ToString(other)) && id[ToString(other).size()] == '.';
  };
  if (names(provider)) return true;
  return provider != Provider::kOwn && std::none_of(std::begin(kProviders), std::end(kProviders), names);
}

const std::vector<Sku>& AllSkus() {
  static const std::vector<Sku> skus = {
      {"aws.compute.t3.small", "h", "t3.small, 2 vCPU burstable, 2 GiB"},
      {"aws.compute.t4g.small", "h", "t4g.small, 2 vCPU burstable, 2 GiB, Arm"},
      {"aws.compute.m6i.large", "h", "m6i.large, 2 vCPU, 8 GiB"},
      {"aws.compute.m6i.2xlarge", "h", "m6i.2xlarge, 8 vCPU, 32 GiB"},
      {"aws.compute.m7i.large", "h", "m7i.large, 2 vCPU, 8 GiB"},
      {"aws.compute.m7i.2xlarge", "h", "m7i.2xlarge, 8 vCPU, 32 GiB"},
      {"aws.compute.m7g.large", "h", "m7g.large, 2 vCPU, 8 GiB, Arm"},
      {"aws.compute.m8g.large", "h", "m8g.large, 2 vCPU, 8 GiB, Arm"},
      {"aws.compute.c7g.large", "h", "c7g.large, 2 vCPU, 4 GiB, Arm"},
      {"aws.compute.c8g.large", "h", "c8g.large, 2 vCPU, 4 GiB, Arm"},
      {"aws.disk.gp3", "GB-month", "EBS gp3"},
      {"aws.msk.m5.large", "h", "MSK broker, kafka.m5.large"},
      {"aws.msk.storage", "GB-month", "MSK storage"},
      {"aws.msk.express.m7g.large", "h", "MSK Express broker, express.m7g.large"},
      {"aws.msk.express.storage", "GB-month", "MSK Express storage"},
      {"aws.msk.express.in", "GB", "MSK Express data in"},
      {"aws.msk.serverless.cluster", "h", "MSK Serverless cluster"},
      {"aws.msk.serverless.partition", "partition-h", "MSK Serverless partitions"},
      {"aws.msk.serverless.in", "GB", "MSK Serverless data in"},
      {"aws.msk.serverless.out", "GB", "MSK Serverless data out"},
      {"aws.msk.serverless.storage", "GB-month", "MSK Serverless storage"},
      {"aws.s3.standard.storage", "GB-month", "S3 Standard storage"},
      {"aws.s3.standard.put", "request", "S3 Standard PUT, COPY, POST, LIST"},
      {"aws.s3.standard.get", "request", "S3 Standard GET, HEAD"},
      {"aws.alb.hour", "h", "Application Load Balancer"},
      {"aws.alb.lcu", "LCU-h", "Load balancer capacity units"},
      {"aws.egress.internet", "GB", "Data transfer out to the internet"},
      {"aws.cloudfront.out", "GB", "CloudFront out to viewers near the region"},
      {"aws.cloudfront.https", "request", "CloudFront HTTPS requests of viewers near the region"},
      {"aws.network.zone", "GB", "Data transfer between zones, both ways"},
      {"aws.eks", "h", "EKS cluster"},
      {"aws.nat.hour", "h", "NAT gateway"},
      {"aws.nat.data", "GB", "NAT gateway data"},
      {"aws.rds.postgres.t3.large", "h", "RDS for PostgreSQL, db.t3.large"},
      {"aws.rds.storage", "GB-month", "RDS gp2 storage"},

      {"gcp.compute.e2-small", "h", "e2-small, 2 vCPU burstable, 2 GiB"},
      {"gcp.compute.n2-standard-2", "h", "n2-standard-2, 2 vCPU, 8 GiB"},
      {"gcp.compute.n2-standard-8", "h", "n2-standard-8, 8 vCPU, 32 GiB"},
      {"gcp.compute.e2-standard-2", "h", "e2-standard-2, 2 vCPU, 8 GiB"},
      {"gcp.compute.n4-standard-2", "h", "n4-standard-2, 2 vCPU, 8 GiB"},
      {"gcp.compute.n4-standard-8", "h", "n4-standard-8, 8 vCPU, 32 GiB"},
      {"gcp.compute.c4-standard-2", "h", "c4-standard-2, 2 vCPU, 7 GiB"},
      {"gcp.compute.c4-standard-8", "h", "c4-standard-8, 8 vCPU, 30 GiB"},
      {"gcp.compute.c4a-standard-2", "h", "c4a-standard-2, 2 vCPU, 8 GiB, Arm"},
      {"gcp.disk.pd-ssd", "GB-month", "Persistent disk, SSD"},
      {"gcp.kafka.dcu", "h", "Managed Kafka, 1 vCPU and 4 GiB"},
      {"gcp.kafka.storage", "GB-month", "Managed Kafka storage"},
      {"gcp.gcs.standard.storage", "GB-month", "Cloud Storage Standard"},
      {"gcp.gcs.standard.class-a", "request", "Cloud Storage class A: insert, list"},
      {"gcp.gcs.standard.class-b", "request", "Cloud Storage class B: get, metadata"},
      {"gcp.lb.rule", "h", "Load balancer, up to five forwarding rules"},
      {"gcp.lb.data", "GB", "Load balancer data, out or in"},
      {"gcp.egress.internet", "GB", "Data transfer out to the internet, Premium Tier"},
      {"gcp.cdn.out", "GB", "Cloud CDN out to viewers near the region"},
      {"gcp.cdn.lookup", "request", "Cloud CDN cache lookups"},
      {"gcp.cdn.fill", "GB", "Cloud CDN cache fill within a continent"},
      {"gcp.network.zone", "GB", "Data transfer between zones"},
      {"gcp.gke", "h", "GKE cluster"},
      {"gcp.nat.hour", "h", "Cloud NAT, per VM behind it, 32 at most"},
      {"gcp.nat.data", "GB", "Cloud NAT data"},
      {"gcp.sql.postgres.2vcpu", "h", "Cloud SQL for PostgreSQL, 2 vCPU, 8 GiB"},
      {"gcp.sql.storage", "GB-month", "Cloud SQL SSD storage"},

      {"azure.compute.b2s", "h", "B2s, 2 vCPU burstable, 4 GiB"},
      {"azure.compute.d2s-v5", "h", "D2s v5, 2 vCPU, 8 GiB"},
      {"azure.compute.d8s-v5", "h", "D8s v5, 8 vCPU, 32 GiB"},
      {"azure.compute.b2s-v2", "h", "B2s v2, 2 vCPU burstable, 8 GiB"},
      {"azure.compute.d2as-v5", "h", "D2as v5, 2 vCPU, 8 GiB"},
      {"azure.compute.d2s-v6", "h", "D2s v6, 2 vCPU, 8 GiB"},
      {"azure.compute.d8s-v6", "h", "D8s v6, 8 vCPU, 32 GiB"},
      {"azure.compute.d2ps-v6", "h", "D2ps v6, 2 vCPU, 8 GiB, Arm"},
      {"azure.disk.standard-ssd", "GB-month", "Managed disk, Standard SSD"},
      {"azure.eventhubs.tu", "h", "Event Hubs Standard throughput unit"},
      {"azure.eventhubs.events", "request", "Event Hubs Standard ingress events"},
      {"azure.eventhubs.premium", "h", "Event Hubs Premium processing unit"},
      {"azure.eventhubs.dedicated", "h", "Event Hubs Dedicated capacity unit"},
      {"azure.eventhubs.retention", "GB-month", "Event Hubs Premium and Dedicated, retention beyond what is included"},
      {"azure.blob.hot-lrs.storage", "GB-month", "Blob Storage hot, LRS"},
      {"azure.blob.hot-lrs.write", "request", "Blob Storage hot write, list"},
      {"azure.blob.hot-lrs.read", "request", "Blob Storage hot read"},
      {"azure.lb.hour", "h", "Standard Load Balancer, up to five rules"},
      {"azure.lb.data", "GB", "Load balancer data"},
      {"azure.egress.internet", "GB", "Data transfer out to the internet"},
      {"azure.frontdoor.base", "month", "Front Door Standard, base fee"},
      {"azure.frontdoor.out", "GB", "Front Door Standard out to viewers near the region"},
      {"azure.frontdoor.requests", "request", "Front Door Standard requests"},
      {"azure.network.zone", "GB", "Data transfer between zones"},
      {"azure.aks", "h", "AKS cluster with uptime SLA"},
      {"azure.nat.hour", "h", "NAT gateway"},
      {"azure.nat.data", "GB", "NAT gateway data"},
      {"azure.postgres.d4s-v3", "h", "Database for PostgreSQL, D4s v3"},
      {"azure.postgres.storage", "GB-month", "Database for PostgreSQL storage"},

      {"confluent.basic.ecku", "h", "Confluent Cloud Basic, eCKU"},
      {"confluent.basic.in", "GB", "Confluent Cloud Basic, data in"},
      {"confluent.basic.out", "GB", "Confluent Cloud Basic, data out"},
      {"confluent.basic.storage", "GB-month", "Confluent Cloud Basic, storage, each of three copies"},

      {"own.core", "core-month", "Processor core"},
      {"own.memory", "GiB-month", "Memory"},
      {"own.disk", "TB-month", "Disk"},
      {"own.bandwidth", "GB", "Traffic to the internet"},
  };
  return skus;
}

const Sku* FindSku(std::string_view id) {
  const auto& skus = AllSkus();
  const auto found = std::find_if(skus.begin(), skus.end(), [&](const Sku& sku) { return sku.id == id; });
  return found == skus.end() ? nullptr : &*found;
}

}  // namespace millrace::cost
