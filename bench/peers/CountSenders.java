import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerInterceptor;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.AppInfoParser;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.processor.api.ContextualFixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;
import org.apache.kafka.streams.state.KeyValueStore;

/** Kafka Streams with one thread: the same state in a store with its cache and its changelog, as it is by default. */
public final class CountSenders {
    private static Map<Integer, Long> ends = new HashMap<>();
    private static String source;
    private static long total;
    private static long done;
    private static double began;
    private static double half;
    private static boolean told;
    private static final Map<Integer, Long> committed = new ConcurrentHashMap<>();

    /** An event, whole, as the project's own codec decodes it. */
    @JsonIgnoreProperties(ignoreUnknown = true)
    public static final class Event {
        public String type;
        public String id;
        public long seq;
        public long at;
        public int v;
        public String conversation;
        public String message;
        public String sender;
        public String recipient;
        public String text;
        public long previous;
    }

    /** What is kept of a sender. */
    public record Seen(long events, long lastAt) {}

    /** Hears of offsets once the broker has acknowledged them; Kafka Streams flushes the changelog before it commits. */
    public static final class Commits implements ConsumerInterceptor<byte[], byte[]> {
        @Override
        public ConsumerRecords<byte[], byte[]> onConsume(ConsumerRecords<byte[], byte[]> records) {
            return records;
        }

        @Override
        public void onCommit(Map<TopicPartition, OffsetAndMetadata> offsets) {
            offsets.forEach((tp, offset) -> {
                if (tp.topic().equals(source)) {
                    committed.merge(tp.partition(), offset.offset(), Math::max);
                }
            });
            if (!told && ends.entrySet().stream().allMatch(e -> committed.getOrDefault(e.getKey(), 0L) >= e.getValue())) {
                told = true;
                System.out.printf(
                        "{\"events\": %d, \"began\": %.9f, \"half\": %.9f, \"ended\": %.9f, \"notes\": {\"kafka_streams\": \"%s\", \"java\": \"%s\"}}%n",
                        done, began, half, now(), AppInfoParser.getVersion(), System.getProperty("java.version"));
                System.out.flush();
            }
        }

        @Override
        public void close() {}

        @Override
        public void configure(Map<String, ?> configs) {}
    }

    /** Seconds on the machine's monotonic clock, which on Linux is the one that Python reads. */
    private static double now() {
        return System.nanoTime() / 1e9;
    }

    /** Notes the time of the first record, and asks for a commit at the last one of each partition. */
    private static final class Marks extends ContextualFixedKeyProcessor<String, Event, Event> {
        @Override
        public void process(FixedKeyRecord<String, Event> record) {
            if (done == 0) {
                began = now();
            }
            context().forward(record);
            done++;
            if (half == 0 && done * 2 >= total) {
                half = now();
            }
            var place = context().recordMetadata().orElseThrow();
            if (place.offset() + 1 >= ends.get(place.partition())) {
                context().commit();
            }
        }
    }

    private static Serde<Event> events() {
        ObjectReader reader = new ObjectMapper().readerFor(Event.class);
        return Serdes.serdeFrom(
                (topic, event) -> {
                    throw new UnsupportedOperationException("events are only read");
                },
                (topic, data) -> {
                    try {
                        return reader.readValue(data);
                    } catch (IOException error) {
                        throw new UncheckedIOException(error);
                    }
                });
    }

    private static Serde<Seen> seen() {
        return Serdes.serdeFrom(
                (topic, row) -> row == null ? null : ByteBuffer.allocate(16).putLong(row.events).putLong(row.lastAt).array(),
                (topic, data) -> {
                    if (data == null) {
                        return null;
                    }
                    ByteBuffer buffer = ByteBuffer.wrap(data);
                    return new Seen(buffer.getLong(), buffer.getLong());
                });
    }

    public static void main(String[] arguments) throws IOException {
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        JsonNode task = new ObjectMapper().readTree(input.readLine());
        source = task.get("topic").asText();
        task.get("ends").fields().forEachRemaining(end -> ends.put(Integer.parseInt(end.getKey()), end.getValue().asLong()));
        total = ends.values().stream().mapToLong(Long::longValue).sum();
        task.get("begins").fields().forEachRemaining(begin -> total -= begin.getValue().asLong());

        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, task.get("group").asText());
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, task.get("bootstrap").asText());
        settings.put(StreamsConfig.STATE_DIR_CONFIG, task.get("folder").asText());
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        settings.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        // It doesn't leave its group when it is closed: a static member's next process has its partitions at once.
        settings.put(StreamsConfig.mainConsumerPrefix(ConsumerConfig.GROUP_INSTANCE_ID_CONFIG), "bench");
        settings.put(StreamsConfig.mainConsumerPrefix(ConsumerConfig.INTERCEPTOR_CLASSES_CONFIG), Commits.class.getName());
        for (String setting : arguments) {
            String[] words = setting.split("=", 2);
            settings.put(words[0], words[1]);
        }

        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(source, Consumed.with(Serdes.String(), events()))
                .processValues(Marks::new)
                .groupByKey()
                .aggregate(
                        () -> new Seen(0, 0),
                        (sender, event, row) -> new Seen(row.events + 1, event.at),
                        Materialized.<String, Seen, KeyValueStore<Bytes, byte[]>>as("senders")
                                .withKeySerde(Serdes.String())
                                .withValueSerde(seen()));
        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
    }
}
