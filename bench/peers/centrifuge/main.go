// The server of `bench realtime` on Go's centrifuge library: PORT, and REDIS_URL where there are several of it.
package main

import (
	"context"
	"encoding/json"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/centrifugal/centrifuge"
)

// who is what a connection says of itself when it connects.
type who struct {
	User string `json:"user"`
	Room string `json:"room"`
}

// said is what a client wants to be delivered, as it is, to a user or a room.
type said struct {
	To   string          `json:"to"`
	Body json.RawMessage `json:"body"`
}

func main() {
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		log.Fatal(err)
	}
	if address := os.Getenv("REDIS_URL"); address != "" {
		share(node, address)
	}
	node.OnConnecting(connecting)
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnMessage(func(event centrifuge.MessageEvent) { deliver(node, event.Data) })
	})
	if err := node.Run(); err != nil {
		log.Fatal(err)
	}
	serve(node)
}

// share makes the node one of several on the same Redis.
func share(node *centrifuge.Node, address string) {
	shard, err := centrifuge.NewRedisShard(node, centrifuge.RedisShardConfig{Address: address})
	if err != nil {
		log.Fatal(err)
	}
	broker, err := centrifuge.NewRedisBroker(node, centrifuge.RedisBrokerConfig{
		Shards: []*centrifuge.RedisShard{shard},
	})
	if err != nil {
		log.Fatal(err)
	}
	node.SetBroker(broker)
}

// connecting subscribes a connection to its user and its room.
func connecting(_ context.Context, event centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
	var person who
	if err := json.Unmarshal(event.Data, &person); err != nil || person.User == "" {
		return centrifuge.ConnectReply{}, centrifuge.DisconnectBadRequest
	}
	channels := map[string]centrifuge.SubscribeOptions{person.User: {}}
	if person.Room != "" {
		channels[person.Room] = centrifuge.SubscribeOptions{}
	}
	return centrifuge.ConnectReply{
		Credentials:   &centrifuge.Credentials{UserID: person.User},
		Subscriptions: channels,
	}, nil
}

func deliver(node *centrifuge.Node, data []byte) {
	var words said
	if err := json.Unmarshal(data, &words); err != nil {
		log.Print(err)
		return
	}
	if _, err := node.Publish(words.To, words.Body); err != nil {
		log.Print(err)
	}
}

// serve returns when it is told to stop.
func serve(node *centrifuge.Node) {
	http.Handle("/connection/websocket", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{}))
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		log.Fatal(err)
	}
	stopping, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	go func() {
		if err := http.Serve(listener, nil); err != nil {
			log.Print(err)
		}
	}()
	<-stopping.Done()
}
