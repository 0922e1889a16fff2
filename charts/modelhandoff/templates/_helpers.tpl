{{- define "modelhandoff.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "modelhandoff.selector" -}}
app.kubernetes.io/name: modelhandoff
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "modelhandoff.labels" -}}
{{ include "modelhandoff.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Cluster-wide objects are named after the release and its namespace. */}}
{{- define "modelhandoff.clusterName" -}}
{{ .Release.Namespace }}-{{ .Release.Name }}
{{- end -}}

{{/* Node names need a cluster-wide right. */}}
{{- define "modelhandoff.watchNodes" -}}
{{ and .Values.watchNodes .Values.rbac.clusterRole }}
{{- end -}}

{{/* What makes a pod pass Pod Security "restricted"; the image's user is 65532. */}}
{{- define "modelhandoff.podSecurity" -}}
runAsNonRoot: true
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "modelhandoff.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
readOnlyRootFilesystem: true
{{- end -}}

{{/* What the operator does in a namespace it serves. Every verb is used, and no other. */}}
{{- define "modelhandoff.rules" -}}
- apiGroups: [modelhandoff.dev]
  resources: [modelhandoffs]
  verbs: [get, list, watch, patch]
- apiGroups: [modelhandoff.dev]
  resources: [handoffapprovals]
  verbs: [get, list, watch]
- apiGroups: [modelhandoff.dev]
  resources: [modelhandoffs/status, handoffattempts/status, handoffapprovals/status]
  verbs: [update]
- apiGroups: [modelhandoff.dev]
  resources: [handoffattempts]
  # operate: no verb of the API, but what admission asks of whoever writes attempts and statuses.
  verbs: [get, list, watch, create, patch, delete, operate]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, create, patch, delete]
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end -}}
