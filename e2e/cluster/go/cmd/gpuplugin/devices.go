package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"

	"google.golang.org/grpc"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const mostDevices = 64

// state is what the control port shows and sets. Broken devices count as capacity but cannot be allocated.
type state struct {
	Count  int `json:"count"`
	Broken int `json:"broken"`
}

func (s state) validate() error {
	if s.Count < 0 || s.Count > mostDevices {
		return fmt.Errorf("count: out of range; got %d; allowed 0 to %d", s.Count, mostDevices)
	}
	if s.Broken < 0 || s.Broken > s.Count {
		return fmt.Errorf("broken: out of range; got %d; allowed 0 to count, %d", s.Broken, s.Count)
	}
	return nil
}

// list is the kubelet's view; the last ones are the broken ones.
func (s state) list() []*api.Device {
	out := make([]*api.Device, s.Count)
	for i := range out {
		health := api.Healthy
		if i >= s.Count-s.Broken {
			health = api.Unhealthy
		}
		out[i] = &api.Device{ID: fmt.Sprintf("gpu-%d", i), Health: health}
	}
	return out
}

// devices holds the state; every change closes `changed`, which wakes all streams to the kubelet.
type devices struct {
	mutex   sync.Mutex
	now     state
	ready   bool
	changed chan struct{}
}

func newDevices(initial state) *devices {
	return &devices{now: initial, changed: make(chan struct{})}
}

func (d *devices) get() (state, <-chan struct{}) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return d.now, d.changed
}

func (d *devices) set(wanted state) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.now = wanted
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *devices) setReady(ready bool) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.ready = ready
}

func (d *devices) isReady() bool {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return d.ready
}

func (d *devices) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if !d.isReady() {
			http.Error(w, "the kubelet does not know this plugin yet", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /devices", func(w http.ResponseWriter, _ *http.Request) {
		now, _ := d.get()
		_ = json.NewEncoder(w).Encode(now)
	})
	mux.HandleFunc("PUT /devices", func(w http.ResponseWriter, r *http.Request) {
		var wanted state
		decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1024))
		decoder.DisallowUnknownFields()
		err := decoder.Decode(&wanted)
		if err == nil {
			err = wanted.validate()
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		d.set(wanted)
		_ = json.NewEncoder(w).Encode(wanted)
	})
	return mux
}

// plugin answers the kubelet.
type plugin struct {
	api.UnimplementedDevicePluginServer
	devices *devices
}

func (p *plugin) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{}, nil
}

// ListAndWatch sends the whole list at once and after every change.
func (p *plugin) ListAndWatch(_ *api.Empty, stream grpc.ServerStreamingServer[api.ListAndWatchResponse]) error {
	for {
		now, changed := p.devices.get()
		if err := stream.Send(&api.ListAndWatchResponse{Devices: now.list()}); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return nil
		}
	}
}

// Allocate names the devices in the variable that the real plugin uses.
func (p *plugin) Allocate(_ context.Context, request *api.AllocateRequest) (*api.AllocateResponse, error) {
	response := &api.AllocateResponse{}
	for _, container := range request.ContainerRequests {
		response.ContainerResponses = append(response.ContainerResponses, &api.ContainerAllocateResponse{
			Envs: map[string]string{"NVIDIA_VISIBLE_DEVICES": strings.Join(container.DevicesIds, ",")},
		})
	}
	return response, nil
}

func listenUnix(path string) (net.Listener, error) {
	return net.Listen("unix", path)
}
