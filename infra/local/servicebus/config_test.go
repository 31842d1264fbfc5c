package servicebus

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTheConfigurationSuitsTheEmulatorToo holds config.json to the limits of the official emulator's schema, which
// can't be asked here.
func TestTheConfigurationSuitsTheEmulatorToo(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("config.json")
	require.NoError(t, err)
	var c config
	require.NoError(t, json.Unmarshal(data, &c))
	require.Len(t, c.UserConfig.Namespaces, 1)
	ns := c.UserConfig.Namespaces[0]
	assert.Equal(t, "sbemulatorns", ns.Name)
	within := func(d duration, least, most time.Duration, what string) {
		t.Helper()
		if d != 0 {
			assert.GreaterOrEqual(t, time.Duration(d), least, what)
			assert.LessOrEqual(t, time.Duration(d), most, what)
		}
	}
	check := func(e namedEntity, leastLock time.Duration) {
		p := e.Properties
		assert.LessOrEqual(t, p.MaxDeliveryCount, uint32(10), e.Name)
		within(p.LockDuration, leastLock, 5*time.Minute, e.Name)
		within(p.DefaultMessageTimeToLive, 5*time.Minute, time.Hour, e.Name)
		within(p.DuplicateDetectionHistoryTimeWindow, 5*time.Second, 5*time.Minute, e.Name)
	}
	for _, q := range ns.Queues {
		check(q, 5*time.Second)
		assert.False(t, q.Properties.RequiresDuplicateDetection, "%s would swallow a repeat", q.Name)
	}
	for _, topic := range ns.Topics {
		check(topic.namedEntity, 0)
		for _, s := range topic.Subscriptions {
			check(s.namedEntity, time.Minute)
			assert.False(t, s.Properties.RequiresSession, s.Name)
		}
	}

	compose, err := os.ReadFile("../../../docker-compose.yml")
	require.NoError(t, err)
	assert.Contains(t, string(compose), "./infra/local/servicebus/config.json:/ServiceBus_Emulator/ConfigFiles/Config.json")
}

func TestLoadConfig(t *testing.T) {
	t.Parallel()
	b := newBroker(t, Options{})
	data, err := os.ReadFile("config.json")
	require.NoError(t, err)
	require.NoError(t, b.LoadConfig(data))
	var names []string
	for _, s := range b.Stats() {
		names = append(names, s.Entity)
	}
	assert.Equal(t, []string{"order-events", "order-events/Subscriptions/webhooks", "order-requests", "webhook-deliveries"}, names)
	assert.Equal(t, Properties{LockDuration: time.Minute, MaxDeliveryCount: 10, DeadLetterOnExpiry: true},
		b.entities["order-requests"].Properties)
	assert.Equal(t, 5*time.Minute, b.entities["order-events"].DuplicateWindow)
	require.ErrorContains(t, b.LoadConfig(data), "exists")
}

func TestWhatTheBrokerCannotDoIsRefused(t *testing.T) {
	t.Parallel()
	for says, entities := range map[string]string{
		"forwarding":         `"Queues": [{"Name": "q", "Properties": {"ForwardTo": "elsewhere"}}]`,
		"unknown field":      `"Queues": [{"Name": "q", "Properties": {"LockDurration": "PT1M"}}]`,
		"rules":              `"Topics": [{"Name": "t", "Subscriptions": [{"Name": "s", "Rules": [{"Name": "r"}]}]}]`,
		"no ISO 8601":        `"Queues": [{"Name": "q", "Properties": {"LockDuration": "1m"}}]`,
		"needs a name":       `"Queues": [{}]`,
		"configuration of Q": `"Queues": [{"Name": "q"}, {"Name": "Q"}]`,
	} {
		b := newBroker(t, Options{})
		assert.ErrorContains(t, b.LoadConfig([]byte(`{"UserConfig": {"Namespaces": [{`+entities+`}]}}`)), says)
	}
	assert.ErrorContains(t, newBroker(t, Options{}).CreateSubscription("none", "s", Properties{}), "no topic")
}

func TestDurations(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"PT1M": time.Minute, "PT0.5S": 500 * time.Millisecond, "P1DT2H3M4S": 26*time.Hour + 3*time.Minute + 4*time.Second,
		"P14D": 14 * 24 * time.Hour,
	} {
		var d duration
		require.NoError(t, json.Unmarshal([]byte(`"`+text+`"`), &d))
		assert.Equal(t, want, time.Duration(d), text)
	}
	for _, text := range []string{`"P"`, `"PT"`, `"P1DT"`, `"P1Y"`, `"1M"`, `""`, `5`} {
		var d duration
		assert.Error(t, json.Unmarshal([]byte(text), &d), text)
	}
}
