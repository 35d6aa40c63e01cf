{{- define "nereid.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* The name is always the same: the alerts' job="nereid" and Prometheus go by it. The instance tells releases apart. */ -}}
{{- define "nereid.selector" -}}
app.kubernetes.io/name: nereid
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "nereid.labels" -}}
{{ include "nereid.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "nereid.image" -}}
{{- printf "%s:%s" (ternary .Values.gpu.repository .Values.image.repository .Values.gpu.enabled) (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}

{{- define "nereid.autoscaled" -}}
{{- if or .Values.autoscaling.cpu.enabled .Values.autoscaling.queue.enabled .Values.autoscaling.keda.enabled }}yes{{ end -}}
{{- end -}}

{{- /* What a container gets for its quality of service; a GPU is a limit of its own. */ -}}
{{- define "nereid.resources" -}}
{{- $presets := dict
  "guaranteed" (dict "requests" (dict "cpu" "2" "memory" "1Gi") "limits" (dict "cpu" "2" "memory" "1Gi"))
  "burstable" (dict "requests" (dict "cpu" "500m" "memory" "256Mi") "limits" (dict "memory" "1Gi"))
  "besteffort" dict
  "custom" .Values.resources -}}
{{- $resources := deepCopy (get $presets .Values.qos) -}}
{{- if .Values.gpu.enabled -}}
{{- $limits := set (default dict $resources.limits) "nvidia.com/gpu" .Values.gpu.count -}}
{{- $resources = set $resources "limits" $limits -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{- /* As in base/deployment.yaml: may do nothing, writes nowhere. */ -}}
{{- define "nereid.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "nereid.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "nereid.rules" -}}
{{- $file := fromYaml (.Files.Get "files/monitoring/rules/triton-alerts.yml") -}}
{{- toYaml (dict "groups" (concat $file.groups .Values.monitoring.extraRuleGroups)) -}}
{{- end -}}
