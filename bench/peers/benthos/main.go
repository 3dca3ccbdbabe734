// Benthos, of which Bento is a fork, as a gateway: its http_server input, and an output into Kafka by franz-go, of which its core has none.
// An answer goes out once Kafka has acknowledged (acks=all, idempotent) each event of the request.
package main

import (
	"context"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"
)

type kafka struct{ client *kgo.Client }

func (k *kafka) Connect(ctx context.Context) (err error) {
	linger, err := time.ParseDuration(os.Getenv("LINGER_MS") + "ms")
	if err != nil {
		return err
	}
	k.client, err = kgo.NewClient(kgo.SeedBrokers(os.Getenv("BROKERS")), kgo.DefaultProduceTopic(os.Getenv("TOPIC")), kgo.ProducerLinger(linger))
	return err
}

func (k *kafka) WriteBatch(ctx context.Context, batch service.MessageBatch) error {
	records := make([]*kgo.Record, len(batch))
	for i, message := range batch {
		bytes, err := message.AsBytes()
		if err != nil {
			return err
		}
		key, _ := message.MetaGet("key")
		records[i] = &kgo.Record{Key: []byte(key), Value: bytes}
	}
	return k.client.ProduceSync(ctx, records...).FirstErr()
}

func (k *kafka) Close(ctx context.Context) error {
	k.client.Close()
	return nil
}

func main() {
	err := service.RegisterBatchOutput("kafka", service.NewConfigSpec(),
		func(*service.ParsedConfig, *service.Resources) (service.BatchOutput, service.BatchPolicy, int, error) {
			return &kafka{}, service.BatchPolicy{}, 256, nil
		})
	if err != nil {
		panic(err)
	}
	service.RunCLI(context.Background())
}
