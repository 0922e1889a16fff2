// Command gpuplugin is a kubelet device plugin that offers GPUs which do not exist.
//
// The scheduler and the kubelet count and hand out its devices as they do real ones. How many there are, and
// how many of them are broken, can be changed while it runs: `PUT /devices` with `{"count": 2, "broken": 1}`.
// `GET /devices` answers the same form; `GET /ready` answers 200 once the kubelet knows the plugin.
package main

import (
	"context"
	"flag"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const (
	retryAfter = 500 * time.Millisecond
	callLimit  = 5 * time.Second
)

func main() {
	resource := flag.String("resource", "nvidia.com/gpu", "extended resource to offer")
	count := flag.Int("count", 1, "devices at the start")
	folder := flag.String("folder", api.DevicePluginPath, "the kubelet's folder of device plugins")
	listen := flag.String("listen", ":8080", "address of the control port")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	devices := newDevices(state{Count: *count})
	control := &http.Server{Addr: *listen, Handler: devices.handler(), ReadHeaderTimeout: callLimit}
	go func() {
		if err := control.ListenAndServe(); err != http.ErrServerClosed {
			slog.Error("control port", "error", err)
			stop()
		}
	}()
	err := run(ctx, *folder, *resource, devices)
	_ = control.Close()
	if err != nil {
		slog.Error("device plugin", "error", err)
		os.Exit(1)
	}
}

// run serves the plugin and registers it, again after every start of the kubelet, until ctx ends.
//
// A starting kubelet empties its plugin folder and forgets all plugins; the plugin has to notice by itself.
func run(ctx context.Context, folder, resource string, devices *devices) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer watcher.Close()
	if err := watcher.Add(folder); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := session(ctx, folder, resource, devices, watcher); err != nil {
			slog.Warn("not registered", "error", err)
		}
		devices.setReady(false)
		select {
		case <-ctx.Done():
		case <-time.After(retryAfter):
		}
	}
	return nil
}

// session lasts from serving the socket until the kubelet restarts, something fails, or ctx ends.
func session(
	ctx context.Context, folder, resource string, devices *devices, watcher *fsnotify.Watcher,
) error {
	own := filepath.Join(folder, "modelhandoff-gpu.sock")
	kubelet := filepath.Join(folder, filepath.Base(api.KubeletSocket))
	if err := os.Remove(own); err != nil && !os.IsNotExist(err) {
		return err
	}
	drain(watcher)
	listener, err := listenUnix(own)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	defer server.Stop()
	api.RegisterDevicePluginServer(server, &plugin{devices: devices})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	if err := register(ctx, kubelet, filepath.Base(own), resource); err != nil {
		return err
	}
	slog.Info("registered", "resource", resource)
	devices.setReady(true)
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-served:
			return err
		case err := <-watcher.Errors:
			return err
		case event := <-watcher.Events:
			if event.Name == kubelet && event.Has(fsnotify.Create) || event.Name == own && event.Has(fsnotify.Remove) {
				slog.Info("the kubelet restarted", "event", event.String())
				return nil
			}
		}
	}
}

// drain forgets what happened before this session, such as the removal of our own old socket.
func drain(watcher *fsnotify.Watcher) {
	for {
		select {
		case <-watcher.Events:
		case <-time.After(20 * time.Millisecond):
			return
		}
	}
}

func register(ctx context.Context, kubelet, endpoint, resource string) error {
	connection, err := grpc.NewClient("unix://"+kubelet, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	limited, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	_, err = api.NewRegistrationClient(connection).Register(limited, &api.RegisterRequest{
		Version:      api.Version,
		Endpoint:     endpoint,
		ResourceName: resource,
	})
	return err
}
