package servicebus

import (
	"bytes"
	_ "embed" // the service's entities
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

//go:embed config.json
var serviceEntities []byte

// ServiceEntities is the configuration with the entities of this service, for LoadConfig and for the official
// emulator alike.
func ServiceEntities() []byte { return serviceEntities }

// config is the official emulator's Config.json. What this broker can't do is refused, never left out silently.
type config struct {
	UserConfig struct {
		Namespaces []struct {
			Name   string
			Queues []namedEntity
			Topics []struct {
				namedEntity
				Subscriptions []struct {
					namedEntity
					Rules []json.RawMessage
				}
			}
		}
		Logging json.RawMessage
	}
}

type namedEntity struct {
	Name       string
	Properties configProperties
}

type configProperties struct {
	LockDuration, DefaultMessageTimeToLive, DuplicateDetectionHistoryTimeWindow   duration
	ForwardTo, ForwardDeadLetteredMessagesTo                                      string
	MaxDeliveryCount                                                              uint32
	RequiresDuplicateDetection, RequiresSession, DeadLetteringOnMessageExpiration bool
}

// LoadConfig creates the entities of a configuration file in the official emulator's format.
func (b *Broker) LoadConfig(data []byte) error {
	var c config
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields() // a misspelt property would be its default without a word
	if err := d.Decode(&c); err != nil {
		return fmt.Errorf("service bus: configuration: %w", err)
	}
	if err := c.create(b); err != nil {
		return fmt.Errorf("service bus: configuration of %w", err)
	}
	return nil
}

func (c *config) create(b *Broker) error {
	for _, ns := range c.UserConfig.Namespaces {
		for _, q := range ns.Queues {
			if err := q.create(b.CreateQueue); err != nil {
				return err
			}
		}
		for _, t := range ns.Topics {
			if err := t.create(b.CreateTopic); err != nil {
				return err
			}
			for _, s := range t.Subscriptions {
				if len(s.Rules) > 0 {
					return fmt.Errorf("%s/%s: rules are not supported", t.Name, s.Name)
				}
				err := s.create(func(name string, p Properties) error { return b.CreateSubscription(t.Name, name, p) })
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (n namedEntity) create(with func(string, Properties) error) error {
	p, err := n.Properties.properties()
	if err == nil {
		err = with(n.Name, p)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", n.Name, err)
	}
	return nil
}

func (c configProperties) properties() (Properties, error) {
	if c.ForwardTo != "" || c.ForwardDeadLetteredMessagesTo != "" {
		return Properties{}, errors.New("forwarding is not supported")
	}
	p := Properties{
		LockDuration: time.Duration(c.LockDuration), MaxDeliveryCount: c.MaxDeliveryCount,
		DefaultTTL: time.Duration(c.DefaultMessageTimeToLive), DeadLetterOnExpiry: c.DeadLetteringOnMessageExpiration,
		RequiresSession: c.RequiresSession,
	}
	if c.RequiresDuplicateDetection {
		p.DuplicateWindow = time.Duration(c.DuplicateDetectionHistoryTimeWindow)
		if p.DuplicateWindow == 0 {
			p.DuplicateWindow = 10 * time.Minute // Azure's default
		}
	}
	return p, nil
}

// duration is written as ISO 8601 has it: PT1M, PT0.5S, P1DT2H.
type duration time.Duration

var isoDuration = regexp.MustCompile(`^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$`)

// UnmarshalJSON is for package json.
func (d *duration) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	parts := isoDuration.FindStringSubmatch(text)
	if parts == nil || text[len(text)-1] == 'P' || text[len(text)-1] == 'T' {
		return fmt.Errorf("%q is no ISO 8601 duration of days to seconds", text)
	}
	*d = 0
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		n, err := strconv.ParseFloat("0"+parts[i+1], 64)
		if err != nil {
			return err
		}
		*d += duration(n * float64(unit))
	}
	return nil
}
