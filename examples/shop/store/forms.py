"""The shop's forms: sign up, order, upload. They check what was typed; `services` does what was asked."""

from django import forms

from .models import Customer


class SignUpForm(forms.ModelForm):
    class Meta:
        model = Customer
        fields = ("name", "email", "address", "country")
        widgets = {"address": forms.Textarea(attrs={"rows": 2})}
        help_texts = {"country": "Try one that no carrier serves, Atlantis say, and order something."}


class OrderForm(forms.Form):
    quantity = forms.IntegerField(min_value=1, max_value=99, initial=1)
    address = forms.CharField(label="Street and town", widget=forms.Textarea(attrs={"rows": 2}))
    country = forms.CharField(max_length=60)


class UploadForm(forms.Form):
    title = forms.CharField(max_length=80)
    image = forms.ImageField(label="Picture")
